//! A request's body on its way to the upstream.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{connection::HttpConnection, exchange::Exchange};
use crate::access::strip_trailers;

/// A request's body. While it belongs to an exchange it holds the visit until its last byte.
pub(crate) struct RequestBody {
    /// Absent once the last byte has passed.
    inner: Option<Incoming>,
    exchange: Option<Rc<Exchange>>,
    connection: Rc<HttpConnection>,
    /// Names of identity headers, in lower case; trailers of these names are removed.
    identity_names: Arc<[String]>,
}

// === impl RequestBody ===

impl RequestBody {
    pub(crate) fn new(body: Incoming, connection: &Rc<HttpConnection>) -> Self {
        Self::with((!body.is_end_stream()).then_some(body), connection)
    }

    pub(crate) fn empty(connection: &Rc<HttpConnection>) -> Self {
        Self::with(None, connection)
    }

    fn with(inner: Option<Incoming>, connection: &Rc<HttpConnection>) -> Self {
        let connection = connection.clone();
        Self { inner, exchange: None, connection, identity_names: Arc::default() }
    }

    /// Removes trailers of these names, in lower case, as their headers are removed: a client
    /// must not set them.
    pub(crate) fn strip_trailers(&mut self, identity_names: &Arc<[String]>) {
        self.identity_names = identity_names.clone();
    }

    /// No byte is left to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    /// Assigns the body to an exchange, or to none; without an exchange it holds no visit.
    pub(crate) fn assign_to(&mut self, exchange: Option<&Rc<Exchange>>) {
        self.exchange = exchange.filter(|_| self.inner.is_some()).cloned();
        if let Some(exchange) = &self.exchange {
            exchange.set_uploading(true);
        }
    }

    fn end(&mut self) {
        self.inner = None;
        if let Some(exchange) = self.exchange.take() {
            exchange.set_uploading(false);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *inner).poll_frame(cx) else {
            this.connection.deadline.request_body_polled(false);
            return Poll::Pending;
        };
        this.connection.deadline.request_body_polled(true);
        match &frame {
            Some(Ok(frame)) if frame.is_trailers() || inner.is_end_stream() => self.end(),
            Some(Ok(_)) => {}
            None => self.end(),
            Some(Err(_)) => self.connection.body_failed.set(true),
        }
        // Some backends merge trailers into the headers.
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    strip_trailers(&self.identity_names, &mut trailers);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.connection.body_unread.set(true);
        }
    }
}
