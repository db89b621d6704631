//! `cargo xtask bench flood`: what stays of the memory that a crowd of large heads took.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bench::house::House;
use crate::bench::process::{memory, peak_memory};

const CONNECTIONS: usize = 5_000;
/// As many addresses share them, for each may have only so many.
const ADDRESSES: usize = 16;
const HEAD: usize = 60_000;
/// Until what is idle has been given back.
const SETTLED: Duration = Duration::from_secs(10);
/// For each answer: one that does not come is counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Five thousand connections with a head of 60 kB each: unfinished, then whole, then whole again.
pub fn run() -> anyhow::Result<()> {
    let house = House::start()?;
    let repository = house.repository.display().to_string();
    house.table()?.execute(
        "insert into apps (name, version, scale, repo) values ('app', ?1, 1, ?2)",
        [&house.commit, &repository],
    )?;
    house.wait("an answer", || house.answers("app"))?;
    std::thread::sleep(SETTLED);
    println!("before: {:.1} MB resident", memory(house.pid()).0 / 1024.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (what, end) in [("unfinished", ""), ("whole", "\r\n\r\n"), ("whole, again", "\r\n\r\n")] {
        let answered = runtime.block_on(flood(house.port, end))?;
        std::thread::sleep(SETTLED);
        let (resident, peak) = (memory(house.pid()).0 / 1024.0, peak_memory(house.pid()).0);
        println!(
            "{CONNECTIONS} heads of {} kB, {what}: {resident:.1} MB resident after it, {peak:.1} \
             MB at the peak so far; {answered} were answered 200",
            HEAD / 1000
        );
    }
    anyhow::ensure!(house.answers("app"), "the app does not answer any more");
    Ok(())
}

/// Sends all heads at once, reads what is answered to whole ones, and closes; returns how many
/// were answered 200.
async fn flood(port: u16, end: &'static str) -> anyhow::Result<usize> {
    let mut head = b"GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Large: ".to_vec();
    head.resize(HEAD, b'x');
    head.extend_from_slice(end.as_bytes());
    let head: std::sync::Arc<[u8]> = head.into();
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let socket = TcpSocket::new_v4()?;
        socket.bind(format!("127.0.0.{}:0", 2 + number % ADDRESSES).parse()?)?;
        streams.push(socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?);
    }
    let mut asked = JoinSet::new();
    for stream in streams {
        asked.spawn(ask(stream, std::sync::Arc::clone(&head), !end.is_empty()));
    }
    let mut answered = 0;
    let mut kept = Vec::with_capacity(CONNECTIONS);
    while let Some(asked) = asked.join_next().await {
        let (stream, is_answered) = asked?;
        answered += usize::from(is_answered);
        // Nobody leaves before all have been there.
        kept.push(stream);
    }
    Ok(answered)
}

async fn ask(
    mut stream: TcpStream,
    head: std::sync::Arc<[u8]>,
    is_whole: bool,
) -> (TcpStream, bool) {
    // One that waits for its turn takes no more than the kernel's buffers hold.
    let limit = if is_whole { PATIENCE } else { Duration::from_secs(2) };
    let exchange = async {
        stream.write_all(&head).await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        Some(&answer[9..] == b"200")
    };
    let answer = timeout(limit, exchange).await;
    (stream, answer == Ok(Some(true)))
}
