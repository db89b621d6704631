//! Meter: a client's socket, and what was last seen of it, for whoever watches the time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::socket::Socket;

/// What a client's connection is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Between requests.
    Idle,
    /// A request's head has begun, or the connection is new.
    Head,
    /// A request is being served.
    Busy,
    /// It was handed over to another protocol.
    Upgraded,
}

/// Counts and states, written by the thread that has the socket and read by the same one: no order
/// is needed.
#[derive(Debug)]
pub(super) struct Meter {
    activity: AtomicU8,
    progress: AtomicU32,
    blocked: AtomicBool,
}

impl Meter {
    pub(super) fn new() -> Arc<Meter> {
        Arc::new(Meter {
            activity: AtomicU8::new(Activity::Head as u8),
            progress: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
        })
    }

    pub(super) fn activity(&self) -> Activity {
        let activity = self.activity.load(Ordering::Relaxed);
        [Activity::Idle, Activity::Head, Activity::Busy]
            .into_iter()
            .find(|known| *known as u8 == activity)
            .unwrap_or(Activity::Upgraded)
    }

    pub(super) fn enter(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// Something moved.
    pub(super) fn count(&self) {
        self.progress.store(self.progress().wrapping_add(1), Ordering::Relaxed);
    }

    /// Differs whenever something has moved.
    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether the client does not take what is there for it.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    fn read(&self) {
        self.count();
        if self.activity.load(Ordering::Relaxed) == Activity::Idle as u8 {
            self.enter(Activity::Head);
        }
    }

    fn written(&self, polled: &Poll<io::Result<usize>>) {
        self.count();
        self.blocked.store(polled.is_pending(), Ordering::Relaxed);
    }
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientStream {
    stream: Socket,
    meter: Arc<Meter>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        ClientStream { stream: Socket(stream), meter }
    }

    /// The socket alone, no longer watched.
    pub(super) fn into_socket(self) -> TcpStream {
        self.stream.0
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.meter.read();
        }
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.meter.written(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.meter.written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
