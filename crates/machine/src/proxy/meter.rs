//! Meter: a client's socket, and what was last seen of it, for whoever watches the time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::gate::Gate;
use crate::proxy::pages;
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

/// Counts and states, written by the thread that has the socket; another one reads them only to
/// choose who gives way.  No order is needed.
#[derive(Debug)]
pub(super) struct Meter {
    activity: AtomicU8,
    progress: AtomicU32,
    blocked: AtomicBool,
    /// Since when it has had no request, by the crowd's clock.
    resting: AtomicU64,
    giving_way: AtomicBool,
    gate: OnceLock<Arc<Gate>>,
    /// Whether an answer of ours or of an app is not yet with the kernel.
    owing: AtomicBool,
    /// Whether the client was refused before it had a request.
    refused: AtomicBool,
    aside: Aside,
}

/// What the client gets that hyper's server knows nothing of: it is written when hyper has nothing
/// to write.
#[derive(Debug, Default)]
struct Aside {
    is_there: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl Meter {
    /// Of a connection that begins `now`, by the crowd's clock.
    pub(super) fn new(now: u64) -> Arc<Meter> {
        Arc::new(Meter {
            activity: AtomicU8::new(Activity::Head as u8),
            progress: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            resting: AtomicU64::new(now),
            giving_way: AtomicBool::new(false),
            gate: OnceLock::new(),
            owing: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            aside: Aside::default(),
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
        if activity == Activity::Busy {
            self.owing.store(true, Ordering::Relaxed);
        }
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// A request has ended, `now` by the crowd's clock.
    pub(super) fn rest(&self, now: u64) {
        self.resting.store(now, Ordering::Relaxed);
        self.enter(Activity::Idle);
    }

    /// Since when it has been without a request, if nothing is lost when it ends.
    pub(super) fn rests_since(&self) -> Option<u64> {
        let rests = match self.activity() {
            Activity::Idle => true,
            Activity::Head => self.progress() == 0,
            Activity::Busy | Activity::Upgraded => false,
        };
        (rests && !self.gives_way()).then(|| self.resting.load(Ordering::Relaxed))
    }

    /// Tells the connection to end, for another one's sake.
    pub(super) fn give_way(&self) {
        self.giving_way.store(true, Ordering::SeqCst);
        if let Some(gate) = self.gate.get() {
            gate.wake_task();
        }
    }

    pub(super) fn gives_way(&self) -> bool {
        self.giving_way.load(Ordering::SeqCst)
    }

    /// By what the connection's task is woken.
    pub(super) fn hang_gate(&self, gate: &Arc<Gate>) {
        self.gate.get_or_init(|| Arc::clone(gate));
    }

    /// Writes this before anything that hyper has to write from now on.
    pub(super) fn put_aside(&self, bytes: &[u8]) {
        self.aside.bytes.lock().extend_from_slice(bytes);
        self.aside.is_there.store(true, Ordering::Relaxed);
    }

    /// Whether something that was put aside is not written yet.
    pub(super) fn has_aside(&self) -> bool {
        self.aside.is_there.load(Ordering::Relaxed)
    }

    /// Whether it was refused before it had a request.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
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

    /// Everything that hyper had to write is written.
    fn flushed(&self) {
        if self.owing.load(Ordering::Relaxed)
            && matches!(self.activity(), Activity::Idle | Activity::Head)
        {
            self.owing.store(false, Ordering::Relaxed);
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

    /// What hyper answers by itself to a head that it cannot read has no body.  Ours is put aside
    /// in its place, and hyper's taken for written.
    fn replace_refusal(&self, bytes: &[u8]) -> bool {
        if self.meter.owing.load(Ordering::Relaxed) {
            return false;
        }
        let Some(page) = pages::refusal(bytes) else { return false };
        self.meter.refused.store(true, Ordering::Relaxed);
        self.meter.put_aside(&page);
        true
    }

    /// Writes what was put aside.
    fn poll_aside(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.meter.has_aside() {
            let mut bytes = self.meter.aside.bytes.lock();
            let polled = Pin::new(&mut self.stream).poll_write(context, &bytes);
            self.meter.written(&polled);
            let count = ready!(polled)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.drain(..count);
            if bytes.is_empty() {
                self.meter.aside.is_there.store(false, Ordering::Relaxed);
                // What comes after it has waited.
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
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
        if self.replace_refusal(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.meter.written(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [slice] = slices
            && self.replace_refusal(slice)
        {
            return Poll::Ready(Ok(slice.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.meter.written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.meter.has_aside() {
            ready!(self.poll_aside(context))?;
        }
        self.meter.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.meter.has_aside() {
            ready!(self.poll_aside(context))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
