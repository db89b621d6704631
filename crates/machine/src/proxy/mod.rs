//! The proxy: takes the requests for all apps on one listener and passes each to an instance, so
//! that none is lost while instances come and go.
//!
//! Each thread has its own runtime, its own clients and its own pool of connections to the
//! instances; all of them accept from the one listener.  They share the [`Routes`], which they read
//! without a lock.
//!
//! Worker, connection, exchange, body, link, upgrade and pages import one another in a circle: they
//! are the parts of one organ, through which each request passes both ways, and each has to know
//! whom it hands over to.

mod access;
mod body;
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
mod routes;
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

use crowd::Crowd;
pub use limits::Limits;
pub use routes::{Routes, Vacancy};
pub use upstream::Upstream;
use worker::{Stage, Worker};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

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
    #[expect(clippy::needless_pass_by_value, reason = "the proxy owns what it serves with")]
    pub fn start(
        listener: net::TcpListener,
        routes: Arc<Routes>,
        limits: Limits,
        threads: usize,
    ) -> io::Result<Proxy> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (stage, stages) = watch::channel(Stage::Serve);
        let (ending, ended) = mpsc::channel(1);
        let count = threads.max(1);
        let (connections, of_client) = limits.crowd(routes.are_behind_balancer());
        let crowd = Crowd::new(connections, of_client);
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets each connection finish its current answer for up to `limit`, and
    /// cuts the rest.
    pub async fn stop(mut self, limit: Duration) {
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
