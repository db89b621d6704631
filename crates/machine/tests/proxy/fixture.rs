//! A proxy under test, apps that can misbehave, and a client that shows every byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowhouse_machine::proxy::{Limits, Proxy, Routes, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// What a working test never waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits something that has to happen.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("deadline passed")
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "deadline passed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A proxy for the domain `localhost`, with routes to be filled.
pub(crate) struct House {
    pub(crate) proxy: Proxy,
    pub(crate) routes: Arc<Routes>,
}

impl House {
    pub(crate) fn new() -> House {
        House::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> House {
        let routes = Routes::new("localhost");
        let listener = Proxy::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let proxy = Proxy::start(listener, Arc::clone(&routes), limits, 2).unwrap();
        House { proxy, routes }
    }

    /// A proxy whose app `shop` is made of these.
    pub(crate) fn of(apps: &[&App]) -> House {
        let house = House::new();
        house.routes.set("shop", apps.iter().map(|app| app.upstream.clone()).collect());
        house
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.proxy.address()).await.unwrap())
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut client = self.connect().await;
        client.get(path).await
    }

    /// One request, given as text.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.write(request).await;
        client.answer().await.expect("no answer")
    }
}

/// A tiny server.
pub(crate) struct App {
    pub(crate) upstream: Upstream,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What an app has seen.
#[derive(Default)]
pub(crate) struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl App {
    /// Answers each request with its name.
    pub(crate) async fn named(name: &'static str) -> App {
        App::new(move |mut peer| async move {
            while let Some(head) = peer.head().await {
                peer.body(&head).await;
                peer.write(&ok(name)).await;
            }
        })
        .await
    }

    /// Treats each connection as `serve` says.
    pub(crate) async fn new<F, T>(serve: F) -> App
    where
        F: Fn(Peer) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        App::on(listener, serve)
    }

    pub(crate) fn on<F, T>(listener: TcpListener, serve: F) -> App
    where
        F: Fn(Peer) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let seen = Arc::clone(&seen);
            async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    let mut peer = Peer::new(stream);
                    peer.seen = Some(Arc::clone(&seen));
                    connections.spawn(serve(peer));
                }
            }
        });
        App { upstream: Upstream::new(format!("app-{address}"), address), seen, _tasks: tasks }
    }

    /// An instance that refuses connections.
    pub(crate) async fn gone() -> Upstream {
        let address = unused().await;
        Upstream::new("gone".to_owned(), address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }
}

pub(crate) async fn unused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer as a client sees it; header names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// One end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    seen: Option<Arc<Seen>>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        Peer { stream, read: Vec::new(), seen: None }
    }

    /// Writes; whether the other side still reads shows later.
    pub(crate) async fn write(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")).await;
        self.answer().await.expect("no answer")
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        self.read.reserve(1 << 14);
        matches!(within(self.stream.read_buf(&mut self.read)).await, Ok(count) if count > 0)
    }

    fn take(&mut self, count: usize) -> String {
        let taken = self.read.drain(..count).collect();
        String::from_utf8(taken).unwrap()
    }

    /// Reads up to and including `mark`.
    pub(crate) async fn until(&mut self, mark: &str) -> Option<String> {
        loop {
            let mut windows = self.read.windows(mark.len());
            if let Some(at) = windows.position(|window| window == mark.as_bytes()) {
                return Some(self.take(at + mark.len()));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub(crate) async fn exactly(&mut self, count: usize) -> Option<String> {
        while self.read.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.take(count))
    }

    /// Forgets what was read already.  Returns how many bytes that was.
    pub(crate) fn forget(&mut self) -> usize {
        self.read.drain(..).count()
    }

    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        self.take(self.read.len())
    }

    /// The head of a request, for an app, in lower case.  `None`: the connection has ended.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let head = self.until("\r\n\r\n").await?.to_ascii_lowercase();
        if let Some(seen) = &self.seen {
            seen.requests.lock().unwrap().push(head.clone());
        }
        Some(head)
    }

    /// The body that belongs to a head in lower case.
    pub(crate) async fn body(&mut self, head: &str) -> Option<String> {
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if let Some(length) = field("content-length: ") {
            return self.exactly(length.trim().parse().unwrap()).await;
        }
        if field("transfer-encoding: ").is_none() {
            return Some(String::new());
        }
        let mut body = String::new();
        loop {
            let line = self.until("\r\n").await?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            if length == 0 {
                while self.until("\r\n").await? != "\r\n" {}
                return Some(body);
            }
            body.push_str(&self.exactly(length).await?);
            self.until("\r\n").await?;
        }
    }

    /// The head of an answer, for a client.
    pub(crate) async fn answer_head(&mut self) -> Option<Answer> {
        let head = self.until("\r\n\r\n").await?;
        let mut lines = head.trim_end().lines();
        let (version, status) = lines.next()?.split_once(' ')?;
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Some(Answer {
            status: status[..3].parse().unwrap(),
            version: version.to_owned(),
            headers: headers.collect(),
            body: String::new(),
        })
    }

    /// A whole answer.  `None`: the connection ended before.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.answer_head().await?;
        let lines = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let framing = lines.collect::<Vec<_>>().concat();
        let framed = ["content-length", "transfer-encoding"];
        answer.body = if framed.iter().any(|name| answer.headers.contains_key(*name)) {
            self.body(&framing).await?
        } else {
            self.rest().await
        };
        Some(answer)
    }
}
