//! Client: a client's socket, as hyper has it.
//!
//! It counts what passes, writes what hyper's server knows nothing of, and does not let more large
//! heads into memory than there is room for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy::budget::USUAL;
use crate::proxy::limits::HEADERS;
use crate::proxy::meter::{Activity, Meter};
use crate::proxy::refusal;
use crate::proxy::socket::Socket;

/// How long a client may go on sending after its answer.
const LINGER: Duration = Duration::from_secs(5);

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientStream {
    stream: Socket,
    meter: Arc<Meter>,
    /// Hyper has been given room for all headers that a head may have.
    is_roomy: bool,
    /// What the client gets if its head is too large with room for all headers, too.
    page: Option<Vec<u8>>,
}

/// What has come of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    /// Hyper has to look at it: it is complete, or wrong, or large and has room.
    Head,
    /// Nothing more will.
    End,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        ClientStream { stream: Socket::new(stream), meter, is_roomy: false, page: None }
    }

    /// Waits for a head while what has come of it stays with the kernel: a connection that sends
    /// one slowly, or none, takes no memory here.  `bytes` is room to look at it.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut [u8; USUAL],
    ) -> Poll<Coming> {
        if self.stream.has_again() {
            return Poll::Ready(Coming::Head);
        }
        let mut seen = 0;
        loop {
            let mut buffer = ReadBuf::new(bytes);
            let stream = self.stream.get_mut();
            let Ok(count @ 1..) = ready!(stream.poll_peek(context, &mut buffer)) else {
                return Poll::Ready(Coming::End);
            };
            // Twice the same: the client sends nothing more, and hyper notices.
            if count == seen || !is_partial(buffer.filled()) {
                return Poll::Ready(Coming::Head);
            }
            self.meter.begin_head();
            if count == USUAL {
                let has_room = self.meter.has_room(context.waker());
                return if has_room { Poll::Ready(Coming::Head) } else { Poll::Pending };
            }
            seen = count;
            // What is there is not enough, and does not wake again.
            let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.stream.get_mut().try_io(Interest::READABLE, blocked);
        }
    }

    /// What hyper answers by itself to a head that it cannot read has no body.  Ours is put aside
    /// in its place, and hyper's taken for written.
    fn replace_refusal(&mut self, bytes: &[u8]) -> bool {
        if self.meter.is_owing() {
            return false;
        }
        let Some(page) = refusal::in_place_of(bytes) else { return false };
        if !self.is_roomy && refusal::is_of_size(bytes) {
            self.page = Some(page);
        } else {
            self.refuse(&page);
        }
        true
    }

    fn refuse(&self, page: &[u8]) {
        self.meter.refuse();
        self.meter.put_aside(page);
    }

    /// Gives hyper once more what it has read, if it was not enough for a head or had more headers
    /// than it usually has room for: such room for each head would cost every request.
    ///
    /// `Err`: the client is refused.
    pub(super) fn read_again(mut self, read: Bytes, head_size: usize) -> Result<Self, Self> {
        // All that came of the head is still there, or hyper's trouble is another one.
        let is_whole = !read.is_empty() && self.meter.head() == read.len();
        match self.page.take() {
            Some(page) if !is_whole || read.len() >= head_size => {
                self.refuse(&page);
                Err(self)
            }
            page => {
                self.is_roomy |= page.is_some();
                self.meter.unread();
                self.stream.read_again(read);
                Ok(self)
            }
        }
    }

    /// Whether hyper has too little room for the headers of what it has read.
    pub(super) fn is_too_narrow(&self) -> bool {
        self.page.is_some()
    }

    /// Whether hyper needs room for as many headers as a head may have.
    pub(super) fn is_roomy(&self) -> bool {
        self.is_roomy
    }

    /// Refuses the client, in these words.
    pub(super) async fn end_with(&mut self, page: &[u8], desk: &RefCell<Box<[u8; USUAL]>>) {
        self.meter.share().release();
        self.refuse(page);
        self.end().await;
        self.linger(desk).await;
    }

    /// Writes what was put aside, and ends.
    pub(super) async fn end(&mut self) {
        // A client that takes it not any more has left.
        let _ = poll_fn(|context| Pin::new(&mut *self).poll_shutdown(context)).await;
    }

    /// Writes what was put aside.
    fn poll_aside(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.meter.has_aside() {
            let mut bytes = self.meter.aside();
            let polled = Pin::new(&mut self.stream).poll_write(context, &bytes);
            self.meter.written(polled.is_pending());
            let count = ready!(polled)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.drain(..count);
            if bytes.is_empty() {
                self.meter.clear_aside();
                // What comes after it has waited.
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the client still sends, so that it gets to read the answer: closing at once would
    /// reset the connection, and with it what the client has not read yet.  `desk` is room for it,
    /// which all share: a crowd that is refused takes no memory.
    pub(super) async fn linger(&mut self, desk: &RefCell<Box<[u8; USUAL]>>) {
        self.meter.share().release();
        let stream = self.stream.get_mut();
        let reading = poll_fn(|context| {
            // Others get their turn in between: the runtime says when.
            loop {
                let mut desk = desk.borrow_mut();
                let mut buffer = ReadBuf::new(desk.as_mut_slice());
                let polled = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
                if polled.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        });
        if timeout(LINGER, reading).await.is_err() {
            tracing::debug!("a client did not stop sending");
        }
    }

    /// The socket alone, no longer watched.
    pub(super) fn into_socket(self) -> TcpStream {
        self.stream.into_inner()
    }
}

/// Whether this may become a head, as far as hyper's own parser can tell.
fn is_partial(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    httparse::Request::new(&mut headers).parse(bytes).is_ok_and(|status| status.is_partial())
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.head() >= USUAL
            && self.meter.activity() == Activity::Head
            && !self.meter.has_room(context.waker())
        {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.meter.read(count);
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
        self.meter.written(polled.is_pending());
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
        self.meter.written(polled.is_pending());
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
        if self.meter.is_kept() || self.page.is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.meter.has_aside() {
            ready!(self.poll_aside(context))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
