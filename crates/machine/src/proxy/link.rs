//! Link: one connection to an instance, and the pool that a thread keeps them in.
//!
//! A link has no task of its own: whoever has a request on it drives it, from within the task of
//! the client's connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy::body::RequestBody;
use crate::proxy::limits::Limits;
use crate::proxy::socket::Socket;
use crate::proxy::upstream::Upstream;

type Wire = Connection<TokioIo<Socket>, RequestBody>;

/// Why a request got no answer: with the request, if not a byte of it was written.
pub(super) type Unanswered = TrySendError<Request<RequestBody>>;

/// One connection to an instance.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    wire: Driven,
    /// When it had its last request.
    since: Instant,
    /// Whether it had a request before.
    pooled: bool,
    /// Whether it has room for all headers that a head may have.
    roomy: bool,
    /// Whether what was written of its last request is unknown, so that it has no other.
    spent: bool,
}

enum Driven {
    Running(Wire),
    /// It has ended; after an upgrade the socket is still wanted.
    Ended(Wire),
    Gone,
}

impl Link {
    /// Connects to an instance.
    pub(super) async fn connect(upstream: &Upstream, limits: &Limits) -> io::Result<Link> {
        let connecting = TcpStream::connect(upstream.address());
        let stream = timeout(limits.connect, connecting).await??;
        stream.set_nodelay(true)?;
        let link = Link::over(Socket::new(stream), upstream.is_wordy(), limits).await;
        link.map_err(io::Error::other)
    }

    async fn over(socket: Socket, roomy: bool, limits: &Limits) -> hyper::Result<Link> {
        let mut builder = Builder::new();
        builder
            .max_buf_size(limits.head_size)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        if roomy {
            builder.max_headers(limits.most_headers());
        }
        let (sender, wire) = builder.handshake(TokioIo::new(socket)).await?;
        let (wire, since) = (Driven::Running(wire), Instant::now());
        Ok(Link { sender, wire, since, pooled: false, roomy, spent: false })
    }

    /// Gives the answer that had too many headers once more, to a parser with room for all: such
    /// room for each answer would cost every request.  Whatever is sent on it next is not written.
    ///
    /// `None`: that was not the reason.
    pub(super) async fn answer_again(self, limits: &Limits) -> Option<Link> {
        let Driven::Ended(wire) = self.wire else { return None };
        let parts = wire.into_parts();
        let read = parts.read_buf;
        if self.roomy || read.len() >= limits.head_size || !read.starts_with(b"HTTP/") {
            return None;
        }
        let mut socket = parts.io.into_inner();
        socket.answer_again(read);
        let link = Link::over(socket, true, limits).await.ok()?;
        Some(Link { spent: true, ..link })
    }

    /// Queues a request; it is written and answered as the link is driven.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>> + use<> {
        self.sender.try_send_request(request)
    }

    /// Writes and reads as much as there is.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if let Driven::Running(wire) = &mut self.wire
            && let Poll::Ready(result) = wire.poll_without_shutdown(context)
        {
            let ended = match std::mem::replace(&mut self.wire, Driven::Gone) {
                Driven::Running(wire) | Driven::Ended(wire) if result.is_ok() => {
                    Driven::Ended(wire)
                }
                Driven::Running(_) | Driven::Ended(_) | Driven::Gone => Driven::Gone,
            };
            self.wire = ended;
        }
    }

    /// Lets go of a connection that has ended, so that a request still queued on it comes back.
    /// Returns whether it had.
    pub(super) fn bury(&mut self) -> bool {
        let ended = !matches!(self.wire, Driven::Running(_));
        if ended {
            self.wire = Driven::Gone;
        }
        ended
    }

    /// The socket, and what was read from it already, after an upgrade.
    pub(super) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        match self.wire {
            Driven::Ended(wire) => {
                let parts = wire.into_parts();
                Some((parts.io.into_inner().into_inner(), parts.read_buf))
            }
            Driven::Running(_) | Driven::Gone => None,
        }
    }

    /// Whether it had a request before this one.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    fn is_ready(&self) -> bool {
        matches!(self.wire, Driven::Running(_)) && self.sender.is_ready() && !self.spent
    }
}

/// The links of one thread that have no request.
#[derive(Default)]
pub(super) struct Pool(RefCell<HashMap<usize, Shelf>>);

struct Shelf {
    upstream: Upstream,
    /// The one used last is at the end.
    #[expect(clippy::vec_box, reason = "a link is large, and goes in and out for each request")]
    links: Vec<Box<Link>>,
}

impl Pool {
    /// The link used last.  `replayable`: any will do; otherwise it must have been used just now.
    pub(super) fn take(
        &self,
        upstream: &Upstream,
        replayable: bool,
        limits: &Limits,
    ) -> Option<Box<Link>> {
        let mut shelves = self.0.borrow_mut();
        let links = &mut shelves.get_mut(&upstream.key())?.links;
        if !replayable && links.last()?.since.elapsed() > limits.fresh {
            return None;
        }
        links.pop()
    }

    /// Keeps a link for the next request, if it can have one.
    pub(super) fn put(&self, upstream: &Upstream, mut link: Box<Link>, limits: &Limits) {
        if !link.is_ready() || upstream.is_closed() {
            return;
        }
        link.since = Instant::now();
        link.pooled = true;
        let mut shelves = self.0.borrow_mut();
        let new = || Shelf { upstream: upstream.clone(), links: Vec::new() };
        let links = &mut shelves.entry(upstream.key()).or_insert_with(new).links;
        if links.len() < limits.pool {
            links.push(link);
        }
    }

    /// Drops what is too old, what the app has closed, and what belongs to an instance that is
    /// closed.
    pub(super) fn sweep(&self, now: Instant, limits: &Limits) {
        let mut context = Context::from_waker(Waker::noop());
        self.0.borrow_mut().retain(|_, shelf| {
            if shelf.upstream.is_closed() {
                return false;
            }
            shelf.links.retain_mut(|link| {
                link.drive(&mut context);
                link.is_ready() && now.saturating_duration_since(link.since) < limits.pooled
            });
            !shelf.links.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}
