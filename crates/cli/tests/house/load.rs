//! Load on keep-alive connections that takes every failed, cut or reset request for what it is:
//! lost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A connection to the proxy that is kept as long as the proxy keeps it.
pub struct Client {
    port: u16,
    host: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(port: u16, host: &str) -> Client {
        Client { port, host: host.to_owned(), stream: None }
    }

    /// One request. A connection that the proxy has said it would close is made anew, any other end
    /// is an error.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, String)> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_mins(1)))?;
            BufReader::new(stream)
        };
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}.localhost\r\n", self.host).into_bytes();
        if method == "POST" {
            request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        request.extend(b"\r\n");
        request.extend(body);
        stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("the connection was closed without an answer"));
        }
        let status = line.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (mut length, mut close) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
            close |= header == "connection: close";
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        if !close {
            self.stream = Some(stream);
        }
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// Load that goes on until it is ended.
pub struct Load {
    over: Arc<AtomicBool>,
    pub requests: Arc<AtomicUsize>,
    lost: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// 32 connections: every second one posts bodies of 1 to 30 kB, the others get; some pause for
    /// about as long as the app keeps an idle connection.
    pub fn start(port: u16, host: &str) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let lost = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..32)
            .map(|number| {
                let (over, requests, lost) =
                    (Arc::clone(&over), Arc::clone(&requests), Arc::clone(&lost));
                let mut client = Client::new(port, host);
                std::thread::spawn(move || {
                    let mut turn = number;
                    while !over.load(Ordering::Relaxed) {
                        turn += 1;
                        let method = if number % 2 == 0 { "GET" } else { "POST" };
                        let size = if method == "GET" { 0 } else { 1_000 * (1 + turn % 30) };
                        let body = vec![b'x'; size];
                        match client.request(method, "/", &body) {
                            Ok((200, _)) => {}
                            Ok((status, text)) => {
                                lost.lock().unwrap().push(format!("{method}: {status} {text}"));
                            }
                            Err(error) => lost.lock().unwrap().push(format!("{method}: {error}")),
                        }
                        requests.fetch_add(1, Ordering::Relaxed);
                        // The connection to the app is idle for just as long as the app lets it be.
                        let pause =
                            if number >= 28 { 990 + u64::try_from(turn % 30).unwrap() } else { 5 };
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                })
            })
            .collect();
        Load { over, requests, lost, threads }
    }

    /// Ends it; nothing may have been lost.
    #[track_caller]
    pub fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let lost = self.lost.lock().unwrap();
        let requests = self.requests.load(Ordering::Relaxed);
        assert!(
            lost.is_empty(),
            "{} of {requests} were lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        );
        assert!(requests > 100, "{requests} requests are no load");
        requests
    }
}
