//! `cargo xtask bench upgrade`: how long a new connection waits while one platform hands over
//! to the next, and what the process costs that stays.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::bench::figure::{median, percentile};
use crate::bench::house::House;
use crate::bench::process::{memory, private_dirty};

const UPGRADES: usize = 20;
/// Those who ask side by side.
const CLIENTS: usize = 4;
/// How long each of them rests between two connections.
const PAUSE: Duration = Duration::from_millis(2);
/// How long is measured without an upgrade, and after each.
const WATCHED: Duration = Duration::from_secs(2);

/// Twenty upgrades one after another, with new connections all the while and one that stays open.
pub fn run() -> anyhow::Result<()> {
    let house = House::start()?;
    let repository = house.repository.display().to_string();
    house.table()?.execute(
        "insert into apps (name, version, scale, repo) values ('hello', ?1, 1, ?2)",
        rusqlite::params![house.commit, repository],
    )?;
    house.wait("an answer", || house.answers("hello"))?;
    let open = TcpStream::connect(("127.0.0.1", house.port))?;
    let calm = asked_during(&house, || Ok(()))?;
    let upgrades: anyhow::Result<Vec<Asked>> =
        (0..UPGRADES).map(|_| asked_during(&house, || upgrade(&house))).collect();
    let upgrades = upgrades?;
    drop(open);
    let refused: usize = upgrades.iter().map(|asked| asked.refused).sum();
    let asked: usize = upgrades.iter().map(|asked| asked.answered).sum();
    let mut longest: Vec<f64> = upgrades.iter().map(|asked| asked.longest).collect();
    println!("from connect to the answer, milliseconds, {CLIENTS} clients:");
    println!("  without an upgrade: longest {:.1} ({} answers)", calm.longest, calm.answered);
    println!(
        "  over {UPGRADES} upgrades: longest of each, median {:.1}, of all {:.1} ({asked} answers, \
         {refused} refused or cut)",
        median(&mut longest),
        percentile(&mut longest, 100.0),
    );
    house.wait("the first process to do nothing but wait", || {
        let words = fs::read(format!("/proc/{}/cmdline", house.pid())).unwrap_or_default();
        words.starts_with(b"rowhouse\0wait-for\0")
    })?;
    let (resident, _) = memory(house.pid());
    println!(
        "the process that waits: {:.0} kB of its own (`Private_Dirty`), {:.1} MB resident",
        private_dirty(house.pid()),
        resident / 1024.0
    );
    Ok(())
}

/// How new connections fared.
#[derive(Default)]
struct Asked {
    answered: usize,
    refused: usize,
    /// Milliseconds.
    longest: f64,
}

/// Asks on new connections while `work` is done, and for a while after it.
fn asked_during(house: &House, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Asked> {
    let (is_over, asked) = (AtomicBool::new(false), Mutex::new(Asked::default()));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let is_answered = is_answered(house.port).unwrap_or(false);
                    let took = began.elapsed().as_secs_f64() * 1000.0;
                    let mut asked = asked.lock().expect("nobody panics with it");
                    asked.answered += usize::from(is_answered);
                    asked.refused += usize::from(!is_answered);
                    asked.longest = asked.longest.max(took);
                    drop(asked);
                    std::thread::sleep(PAUSE);
                }
            });
        }
        let done = work();
        std::thread::sleep(WATCHED);
        is_over.store(true, Ordering::Relaxed);
        done
    })?;
    asked.into_inner().context("a client has panicked")
}

fn is_answered(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head[9..] == b"200")
}

/// Asks the process that was started for a successor, and waits until there is one.
fn upgrade(house: &House) -> anyhow::Result<()> {
    let before = platform(house);
    let asked = Command::new("kill").args(["-HUP", &house.pid().to_string()]).status()?;
    ensure!(asked.success(), "cannot signal the platform");
    house.wait("the successor", || platform(house) != before)
}

/// The process that the folder says is the platform.
fn platform(house: &House) -> Option<u64> {
    let lock = fs::read(house.data().join("state/lock")).ok()?;
    let holder: serde_json::Value = serde_json::from_slice(&lock).ok()?;
    holder["Pid"].as_u64()
}
