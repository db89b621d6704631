//! Socket: a TCP stream that writes small messages in one piece, and can give once more what was
//! read from it.
//!
//! A head and a small body come as two slices.  Copying them together and sending that costs the
//! kernel less than taking two slices from us.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Up to how many bytes are copied.
const SMALL: usize = 2048;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// What comes before anything new.
    again: Bytes,
    /// Whether what is written next was written before, and nothing comes until then.
    is_mute: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Socket { stream, again: Bytes::new(), is_mute: false }
    }

    /// Gives this once more.
    pub(super) fn read_again(&mut self, read: Bytes) {
        self.again = read;
    }

    /// Gives this once more, as the answer to a message that was written before.
    pub(super) fn answer_again(&mut self, read: Bytes) {
        self.again = read;
        self.is_mute = true;
    }

    /// Whether there is something to be read that came before.
    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn get_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn is_mute(&mut self, context: &Context<'_>) -> bool {
        let is_mute = std::mem::take(&mut self.is_mute);
        if is_mute {
            // Whoever has written waits for an answer, which is there.
            context.waker().wake_by_ref();
        }
        is_mute
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_mute {
            return Poll::Pending;
        }
        if self.has_again() {
            let count = self.again.len().min(buffer.remaining());
            buffer.put_slice(&self.again[..count]);
            self.again.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_mute(context) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_mute(context) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let stream = Pin::new(&mut self.stream);
        if let [slice] = slices {
            return stream.poll_write(context, slice);
        }
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length > SMALL {
            return stream.poll_write_vectored(context, slices);
        }
        let mut together = [0; SMALL];
        let mut end = 0;
        for slice in slices {
            together[end..end + slice.len()].copy_from_slice(slice);
            end += slice.len();
        }
        stream.poll_write(context, &together[..end])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
