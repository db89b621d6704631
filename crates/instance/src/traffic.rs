//! The traffic of one connection: whether a request is open on it, as far as that can be told
//! without reading it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// An answer that pauses for longer is taken to be over.
const PAUSE: Duration = Duration::from_secs(5);

/// When something went which way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Mutex<Option<(Way, Instant)>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Asked,
    Answered,
}

impl Traffic {
    fn went(&self, way: Way) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((way, Instant::now()));
    }

    /// Waits until no request is open: the last that went was an answer, and that some time ago, or
    /// nothing ever went.
    pub(crate) async fn at_rest(&self) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = match last {
                None => return,
                Some((Way::Answered, at)) if at.elapsed() >= PAUSE => return,
                Some((Way::Answered, at)) => at + PAUSE,
                Some((Way::Asked, _)) => Instant::now() + PAUSE / 50,
            };
            sleep_until(until).await;
        }
    }
}

/// A client whose traffic is watched.
pub(crate) struct Watched<S> {
    stream: S,
    traffic: Traffic,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, traffic: &Traffic) -> Watched<S> {
        Watched { stream, traffic: traffic.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.traffic.went(Way::Asked);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(count)) if count > 0) {
            self.traffic.went(Way::Answered);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_at_rest_when_its_last_request_was_answered() {
        let traffic = Traffic::default();
        traffic.at_rest().await;
        let (near, mut far) = duplex(100);
        let mut near = Watched::new(near, &traffic);
        far.write_all(b"GET").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        let began = Instant::now();
        let waited = tokio::time::timeout(PAUSE * 10, traffic.at_rest()).await;
        assert!(waited.is_err(), "a request that is not answered is open");
        near.write_all(b"200").await.unwrap();
        traffic.at_rest().await;
        assert!(began.elapsed() >= PAUSE * 11, "an answer may have pauses");
        traffic.at_rest().await;
    }
}
