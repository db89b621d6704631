//! The proxy: takes the requests for all apps on one listener and passes each to an instance, so
//! that none is lost while instances come and go.
//!
//! Each thread has its own runtime, its own clients and its own pool of connections to the
//! instances; all of them accept from the one listener.  They share the [`Routes`], which they read
//! without a lock.
//!
//! Worker, connection, exchange, body, link and upgrade import one another in a circle: they
//! are the parts of one organ, through which each request passes both ways, and each has to know
//! whom it hands over to.

mod access;
mod body;
mod budget;
mod client;
mod connection;
mod crowd;
mod exchange;
mod gate;
mod headers;
mod limits;
mod link;
mod meter;
mod notice;
mod pages;
mod refusal;
mod routes;
mod seen;
mod socket;
mod upgrade;
mod upstream;
mod worker;

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use budget::Budget;
use crowd::Crowd;
pub use limits::Limits;
pub use routes::{Routes, Vacancy};
pub use upstream::Upstream;
use worker::{Stage, Worker};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long a client whose connection is idle may take for the one more request with whose answer
/// it learns that the connection ends.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// A running proxy.  When dropped without [`Proxy::stop`], everything is cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    /// Closed as soon as all threads have ended.
    ended: mpsc::Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on `address`, exclusively: nobody else can take a part of the connections.
    ///
    /// # Errors
    ///
    /// The address is in use, not ours, or needs a privilege.
    pub fn bind(address: SocketAddr) -> io::Result<net::TcpListener> {
        listener(address)
    }

    /// Serves the connections of `listener` with that many threads, at least one.
    ///
    /// # Errors
    ///
    /// No thread, or no runtime for it, can be made.
    pub fn start(
        listener: net::TcpListener,
        routes: Arc<Routes>,
        limits: Limits,
        threads: usize,
    ) -> io::Result<Proxy> {
        let proxy = Proxy::prepare(listener, routes, limits, threads)?;
        proxy.serve();
        Ok(proxy)
    }

    /// Makes everything ready to serve the connections of `listener`, and accepts none yet.
    ///
    /// # Errors
    ///
    /// As of [`Proxy::start`].
    #[expect(clippy::needless_pass_by_value, reason = "the proxy owns what it serves with")]
    pub fn prepare(
        listener: net::TcpListener,
        routes: Arc<Routes>,
        limits: Limits,
        threads: usize,
    ) -> io::Result<Proxy> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (stage, stages) = watch::channel(Stage::Wait);
        let (ending, ended) = mpsc::channel(1);
        let count = threads.max(1);
        let (connections, of_client) = limits.crowd(routes.are_behind_balancer());
        let crowd = Crowd::new(connections, of_client, Budget::new(limits.heads, limits.head_size));
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let listener = listener.try_clone()?;
            let (routes, limits) = (Arc::clone(&routes), limits.clone());
            let (stages, ending) = (stages.clone(), ending.clone());
            let crowd = Arc::clone(&crowd);
            let work = move || {
                let _ending = ending;
                let served = start_runtime().and_then(|runtime| {
                    runtime.block_on(async {
                        let listener = TcpListener::from_std(listener)?;
                        Worker::new(routes, limits, crowd).run(listener, stages).await;
                        Ok(())
                    })
                });
                if let Err(error) = served {
                    tracing::error!(%error, "a thread of the proxy cannot work");
                }
            };
            threads.push(thread::Builder::new().name(format!("proxy-{number}")).spawn(work)?);
        }
        Ok(Proxy { address, stage, ended, threads })
    }

    /// Accepts from now on.
    pub fn serve(&self) {
        self.stage.send_replace(Stage::Serve);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets each connection finish its current answer for up to `limit`, and
    /// cuts the rest.
    pub async fn stop(self, limit: Duration) {
        self.finish(limit).await;
    }

    /// Accepts nothing more, for another process does; each connection is told with its next answer
    /// that it ends.
    pub fn retreat(&self) {
        self.stage.send_replace(Stage::Leave);
    }

    /// Does the same, and waits until each connection has ended with the answer that told it; those
    /// that have no request soon end as by [`Proxy::stop`]. `limit` is for all.
    pub async fn leave(mut self, limit: Duration) {
        self.retreat();
        let first = limit.min(LAST_REQUEST);
        // Whoever is left then is told without an answer.
        let _ = timeout(first, self.ended.recv()).await;
        self.finish(limit.saturating_sub(first)).await;
    }

    async fn finish(mut self, limit: Duration) {
        self.stage.send_replace(Stage::Finish);
        if timeout(limit, self.ended.recv()).await.is_err() {
            self.stage.send_replace(Stage::Cut);
            self.ended.recv().await;
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the proxy panicked");
            }
        }
    }
}

fn start_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())
}

fn listener(address: SocketAddr) -> io::Result<net::TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of a proxy before this one, still closing, do not keep the address.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(net::TcpListener::from(socket))
}
