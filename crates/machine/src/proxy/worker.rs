//! Worker: one thread of the proxy, with its clients and its pool of links.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::proxy::budget::USUAL;
use crate::proxy::connection::Connection;
use crate::proxy::crowd::{Crowd, Place};
use crate::proxy::limits::Limits;
use crate::proxy::link::Pool;
use crate::proxy::notice::Notice;
use crate::proxy::routes::Routes;

/// How long no connection is accepted after accepting failed, as it does when files run out.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether somebody has ended, or has no request, when all places are taken.
const LOOK: Duration = Duration::from_millis(5);

/// What the proxy tells its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accept nothing yet.
    Wait,
    /// Accept and serve.
    Serve,
    /// Accept nothing more, and say with each answer that the connection ends with it.
    Leave,
    /// Accept nothing more, and end each connection after its current answer.
    Finish,
    /// End everything.
    Cut,
}

pub(super) struct Worker {
    routes: Arc<Routes>,
    limits: Limits,
    pool: Pool,
    http: Builder,
    /// The same, with room for all headers that a head may have.
    roomy: Builder,
    /// Where the beginning of a head is looked at, and what nobody wants is read.
    desk: RefCell<Box<[u8; USUAL]>>,
    crowd: Arc<Crowd>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    /// The first connection has come, or the last one has gone.
    turned: Notify,
    notices: Notices,
}

/// What is told of connections and apps, and not more often than it helps.
#[derive(Default)]
struct Notices {
    unaccepted: Notice,
    refused: Notice,
    unreadable: RefCell<HashMap<String, Notice>>,
}

impl Worker {
    pub(super) fn new(routes: Arc<Routes>, limits: Limits, crowd: Arc<Crowd>) -> Rc<Worker> {
        let mut http = Builder::new();
        // The times are watched for all connections at once: a timer for each request would cost
        // more.
        http.header_read_timeout(None).max_buf_size(limits.head_size);
        let mut roomy = http.clone();
        roomy.max_headers(limits.most_headers());
        Rc::new(Worker {
            routes,
            limits,
            pool: Pool::default(),
            http,
            roomy,
            desk: RefCell::new(Box::new([0; USUAL])),
            crowd,
            connections: RefCell::default(),
            next: Cell::new(0),
            turned: Notify::new(),
            notices: Notices::default(),
        })
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How hyper serves, with the usual room for headers or with all that may be needed.
    pub(super) fn http(&self, is_roomy: bool) -> &Builder {
        if is_roomy { &self.roomy } else { &self.http }
    }

    /// Where the beginning of a head is looked at, and what nobody wants is read.
    pub(super) fn desk(&self) -> &RefCell<Box<[u8; USUAL]>> {
        &self.desk
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Serves until told to stop.
    pub(super) async fn run(self: Rc<Self>, listener: TcpListener, stage: watch::Receiver<Stage>) {
        let watching = spawn_local(Rc::clone(&self).watch());
        let mut stopping = stage.clone();
        // Without a proxy there is nothing to wait for, and nothing to accept.
        let _ = stopping.wait_for(|stage| *stage != Stage::Wait).await;
        select! {
            _ = stopping.wait_for(|stage| *stage != Stage::Serve) => {}
            () = self.accept(listener) => {}
        }
        self.stop(stage).await;
        watching.abort();
    }

    async fn accept(self: &Rc<Self>, listener: TcpListener) {
        loop {
            // Where everybody has a request, who comes waits in the queue of the listener.
            while !self.crowd.has_room() {
                sleep(LOOK).await;
            }
            match listener.accept().await {
                Ok((stream, client)) => self.welcome(stream, client.ip()),
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if let Some(times) = self.notices.unaccepted.count(Instant::now()) {
                        tracing::warn!(%error, times, "cannot accept connections");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, client: IpAddr) {
        let connection = Connection::new(Rc::clone(self), client);
        let Some(place) = self.crowd.enter(client, connection.meter()) else {
            if let Some(times) = self.notices.refused.count(Instant::now()) {
                tracing::warn!(%client, times, "too many connections from one address");
            }
            return;
        };
        let worker = Rc::clone(self);
        // Before its task first runs: the proxy may end in between, and must know of it.
        let entry = self.enter(&connection, place);
        spawn_local(async move {
            let _entry = entry;
            worker.serve(connection, stream).await;
        });
    }

    /// An app's answer cannot be read.
    pub(super) fn warn_of_answer(&self, app: &str, upstream: &str, error: &hyper::Error) {
        let mut notices = self.notices.unreadable.borrow_mut();
        let notice = notices.entry(app.to_owned()).or_default();
        if let Some(times) = notice.count(Instant::now()) {
            let error = chain(error);
            tracing::warn!(app, upstream, error, times, "the app sent an answer that is no HTTP");
        }
    }

    async fn serve(&self, connection: Rc<Connection>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client left at once");
            return;
        }
        connection.run(stream).await;
    }

    async fn stop(&self, mut stage: watch::Receiver<Stage>) {
        let mut told = None;
        while !self.connections.borrow().is_empty() {
            // Without a proxy there is nobody left to wait for.
            let is_over = stage.has_changed().is_err();
            let now = if is_over { Stage::Cut } else { *stage.borrow_and_update() };
            if told.replace(now) != Some(now) {
                match now {
                    Stage::Wait | Stage::Serve => {}
                    Stage::Leave => self.each(Connection::leave),
                    Stage::Finish => self.each(Connection::finish),
                    Stage::Cut => self.each(Connection::cut),
                }
            }
            select! {
                () = self.turned.notified() => {}
                _ = stage.changed(), if now != Stage::Cut => {}
            }
        }
    }

    /// Watches the times, as long as there is anything to watch.
    async fn watch(self: Rc<Self>) {
        let mut bell = self.routes.bell();
        loop {
            let idle = self.connections.borrow().is_empty() && self.pool.is_empty();
            select! {
                rung = bell.changed() => if rung.is_err() { return },
                () = sleep(self.limits.tick()), if !idle => {}
                () = self.turned.notified(), if idle => {}
            }
            let now = Instant::now();
            self.pool.sweep(now, &self.limits);
            self.each(|connection| connection.look(now, &self.limits));
        }
    }

    fn each(&self, work: impl Fn(&Connection)) {
        for connection in self.connections.borrow().values() {
            work(connection);
        }
    }

    fn enter(self: &Rc<Self>, connection: &Rc<Connection>, place: Place) -> Entry {
        let key = self.next.replace(self.next.get() + 1);
        let mut connections = self.connections.borrow_mut();
        connections.insert(key, Rc::clone(connection));
        if connections.len() == 1 {
            self.turned.notify_one();
        }
        Entry { worker: Rc::clone(self), key, _place: place }
    }
}

/// A connection's place among those of its thread, however it ends.
struct Entry {
    worker: Rc<Worker>,
    key: u64,
    _place: Place,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        let connection = connections.remove(&self.key);
        if connections.is_empty() {
            self.worker.turned.notify_one();
        }
        drop(connections);
        if let Some(connection) = connection {
            connection.release(false);
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Whether the error is about the one connection only, and the next one may be accepted at once.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
