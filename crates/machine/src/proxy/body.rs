//! Bodies: the two streams of a request, passed through frame by frame.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::proxy::access::Access;
use crate::proxy::connection::Connection;
use crate::proxy::exchange::Exchange;

/// What a client sends, on its way to the app.
pub(super) struct RequestBody {
    /// `None`: there is no body.
    incoming: Option<Incoming>,
    connection: Rc<Connection>,
}

impl RequestBody {
    pub(super) fn none(connection: Rc<Connection>) -> Self {
        RequestBody { incoming: None, connection }
    }

    pub(super) fn new(incoming: Incoming, connection: Rc<Connection>) -> Self {
        connection.set_uploading(!incoming.is_end_stream());
        RequestBody { incoming: Some(incoming), connection }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(context);
        self.connection.set_starved(polled.is_pending());
        let frame = ready!(polled);
        if matches!(frame, Some(Err(_))) {
            self.connection.spoil();
        }
        if frame.is_none() || self.is_end_stream() {
            self.connection.set_uploading(false);
            self.connection.set_unread(false);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.incoming.as_ref().map_or_else(none, Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.connection.set_starved(false);
        self.connection.set_uploading(false);
    }
}

/// What a client gets.
pub(super) enum ResponseBody {
    /// From the proxy itself, or nothing.
    Page(Bytes),
    /// From an app.
    Stream(Stream),
}

/// An app's answer on its way to the client.
pub(super) struct Stream {
    incoming: Incoming,
    exchange: Exchange,
    access: Option<Access>,
    /// How the answer broke off.
    failure: Option<hyper::Error>,
}

impl ResponseBody {
    pub(super) fn page(text: Bytes) -> Self {
        ResponseBody::Page(text)
    }

    pub(super) fn empty() -> Self {
        ResponseBody::Page(Bytes::new())
    }

    /// What the app sends.  If that is nothing, the exchange ends here.
    pub(super) fn stream(incoming: Incoming, exchange: Exchange) -> Self {
        if incoming.is_end_stream() {
            exchange.finish();
            return ResponseBody::empty();
        }
        ResponseBody::Stream(Stream { incoming, exchange, access: None, failure: None })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ResponseBody::Page(text) if text.is_empty() => Poll::Ready(None),
            ResponseBody::Page(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            ResponseBody::Stream(stream) => stream.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Page(text) => text.is_empty(),
            ResponseBody::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Page(text) => SizeHint::with_exact(text.len() as u64),
            ResponseBody::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

impl Stream {
    /// The line to be written when this has ended.
    pub(super) fn log(&mut self, access: Option<Access>) {
        self.access = access;
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let connection = self.exchange.connection();
        let mut polled = connection.poll_link_body(&mut self.incoming);
        if polled.is_pending() {
            connection.drive_link();
            polled = connection.poll_link_body(&mut self.incoming);
        }
        let frame = ready!(polled);
        connection.count();
        match frame {
            Some(Err(failure)) => {
                // What came before goes out first, as it would without a proxy.
                self.failure = Some(failure);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            frame => {
                if frame.is_none() || self.incoming.is_end_stream() {
                    self.exchange.finish();
                }
                Poll::Ready(frame)
            }
        }
    }
}
