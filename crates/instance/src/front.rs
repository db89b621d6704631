//! The front: TLS before the platform's proxy. Its port is open while the app is healthy, and
//! closed otherwise: a balancer that asks for a handshake alone learns the truth from that. Bytes
//! are passed on as they are. Told to end, it lets open requests finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rowhouse_command::output;
use rowhouse_core::counted;
use rowhouse_machine::proxy::Proxy;
use rustls::ServerConfig;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::traffic::{Traffic, Watched};

/// From a connection's begin to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// To connect to the proxy, which is on this machine.
const CONNECT: Duration = Duration::from_secs(2);
/// Open connections of all threads, as many as the proxy takes.
const CONNECTIONS: usize = 10_000;
/// How long no connection is accepted after accepting failed, as it does when files run out.
const PAUSE: Duration = Duration::from_millis(50);

type Door = Option<Arc<std::net::TcpListener>>;

/// What serves TLS. It ends with the process.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    door: watch::Sender<Door>,
    /// Whether connections are to end when they are at rest.
    is_ending: watch::Sender<bool>,
    /// How many connections are open.
    open: Arc<watch::Sender<usize>>,
}

/// What every connection needs.
#[derive(Clone)]
struct Passage {
    acceptor: TlsAcceptor,
    platform: SocketAddr,
    is_ending: watch::Receiver<bool>,
    open: Arc<watch::Sender<usize>>,
}

impl Front {
    /// Starts with a closed port; one thread for each core waits for it to be opened.
    pub(crate) fn start(
        address: SocketAddr,
        platform: SocketAddr,
        tls: &Arc<ServerConfig>,
    ) -> std::io::Result<Front> {
        let door = watch::Sender::new(None);
        let is_ending = watch::Sender::new(false);
        let open = Arc::new(watch::Sender::new(0));
        let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for number in 0..count {
            let passage = Passage {
                acceptor: TlsAcceptor::from(Arc::clone(tls)),
                platform,
                is_ending: is_ending.subscribe(),
                open: Arc::clone(&open),
            };
            let doors = door.subscribe();
            let room = Arc::new(Semaphore::new(CONNECTIONS.div_ceil(count)));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = move || runtime.block_on(serve(doors, passage, room));
            thread::Builder::new().name(format!("front-{number}")).spawn(work)?;
        }
        Ok(Front { address, door, is_ending, open })
    }

    /// Closes the port, and waits until open requests are answered, at most `limit`. Those that are
    /// left then are cut when the process ends.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.door.send_replace(None);
        self.is_ending.send_replace(true);
        let mut open = self.open.subscribe();
        if timeout(limit, open.wait_for(|open| *open == 0)).await.is_err() {
            let left = *open.borrow();
            output::warning(&format!(
                "{} had no end after {} s: cut",
                counted(left, "connection"),
                limit.as_secs()
            ));
        }
    }

    /// Opens or closes the port. Connections that are there already go on.
    pub(crate) fn set_open(&self, open: bool) {
        let is_open = self.door.borrow().is_some();
        match (open, is_open) {
            (true, false) => match Proxy::bind(self.address) {
                Ok(listener) => {
                    output::note(&format!("TLS is open at {}", self.address));
                    self.door.send_replace(Some(Arc::new(listener)));
                }
                // It is tried again with the next look.
                Err(error) => {
                    output::warning(&format!("cannot listen on {}: {error}", self.address));
                }
            },
            (false, true) => {
                output::note("TLS is closed: the app does not answer");
                self.door.send_replace(None);
            }
            (true, true) | (false, false) => {}
        }
    }
}

async fn serve(mut doors: watch::Receiver<Door>, passage: Passage, room: Arc<Semaphore>) {
    loop {
        let opened = match doors.wait_for(Option::is_some).await {
            Ok(door) => door.as_ref().map(|listener| listener.try_clone()),
            Err(_) => return,
        };
        let listener = match opened.map(|listener| listener.and_then(TcpListener::from_std)) {
            Some(Ok(listener)) => listener,
            Some(Err(error)) => {
                warn!(%error, "a thread cannot accept connections");
                sleep(PAUSE).await;
                continue;
            }
            None => continue,
        };
        tokio::select! {
            closed = doors.wait_for(Option::is_none) => if closed.is_err() { return },
            () = accept(listener, &passage, &room) => {}
        }
    }
}

async fn accept(listener: TcpListener, passage: &Passage, room: &Arc<Semaphore>) {
    loop {
        // Clients above the limit wait in the queue of the listener.
        let Ok(place) = Arc::clone(room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let passage = passage.clone();
                passage.open.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    if let Err(error) = passage.pass(client).await {
                        debug!(%error, "a connection ended");
                    }
                    passage.open.send_modify(|open| *open -= 1);
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Passage {
    async fn pass(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let client = timeout(HANDSHAKE, self.acceptor.accept(client)).await??;
        let mut platform = timeout(CONNECT, TcpStream::connect(self.platform)).await??;
        platform.set_nodelay(true)?;
        let traffic = Traffic::default();
        let mut client = Watched::new(client, &traffic);
        let mut is_ending = self.is_ending.clone();
        let ends = async {
            // The front is there as long as its threads.
            let _ = is_ending.wait_for(|is_ending| *is_ending).await;
            traffic.at_rest().await;
        };
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut platform) => return copied.map(drop),
            () = ends => {}
        }
        timeout(CONNECT, client.shutdown()).await?
    }
}
