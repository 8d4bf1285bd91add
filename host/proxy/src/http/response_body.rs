//! A response's body on its way to the client.

use std::{
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{connection::HttpConnection, exchange::Exchange, pool::PooledConnection};

type BodyError = Box<dyn Error + Send + Sync>;

/// A response's body: the proxy's own, or relayed from an upstream.
pub(crate) struct ResponseBody {
    kind: Kind,
    connection: Rc<HttpConnection>,
}

enum Kind {
    Bytes(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
    Relayed(Relayed),
}

/// A body from the upstream.
struct Relayed {
    inner: Incoming,
    /// Both released after the last byte.
    exchange: Option<Rc<Exchange>>,
    upstream: Option<PooledConnection>,
    /// Resolves when the client disconnects while hyper does not poll its socket.
    closed: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Why the upstream's body ended early, until hyper is given the error.
    failure: Option<BodyError>,
}

// === impl ResponseBody ===

impl ResponseBody {
    /// Bytes of the proxy's own.
    pub(crate) fn bytes(bytes: Bytes, connection: &Rc<HttpConnection>) -> Self {
        let kind = Kind::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { kind, connection: connection.clone() }
    }

    /// A stream of the proxy's own.
    pub(crate) fn stream(
        pieces: impl Stream<Item = Bytes> + 'static,
        connection: &Rc<HttpConnection>,
    ) -> Self {
        Self { kind: Kind::Stream(Box::pin(pieces)), connection: connection.clone() }
    }

    /// An upstream's body. The upstream's connection returns to the pool after the last byte.
    pub(crate) fn relayed(
        inner: Incoming,
        exchange: Rc<Exchange>,
        upstream: PooledConnection,
    ) -> Self {
        let connection = exchange.connection.clone();
        connection.deadline.response_started();
        let mut relayed = Relayed {
            inner,
            exchange: Some(exchange),
            upstream: Some(upstream),
            closed: None,
            failure: None,
        };
        if relayed.inner.is_end_stream() {
            relayed.end();
        }
        Self { kind: Kind::Relayed(relayed), connection }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(pieces) => {
                pieces.as_mut().poll_next(cx).map(|piece| Some(Ok(Frame::data(piece?))))
            }
            Kind::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Bytes(bytes) => bytes.is_none(),
            Kind::Stream(_) => false,
            Kind::Relayed(relayed) => relayed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Stream(_) => SizeHint::default(),
            Kind::Relayed(relayed) => relayed.inner.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.connection.end_response();
    }
}

// === impl Relayed ===

impl Relayed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The exchange is absent after the last byte.
        let Some(exchange) = self.exchange.clone() else { return Poll::Ready(None) };
        let HttpConnection { client, deadline, .. } = &*exchange.connection;
        // hyper polls again when it has written what it buffers.
        if self.failure.is_some() && client.socket.is_write_blocked() {
            return Poll::Pending;
        }
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if exchange.is_uploading() || !client.socket.is_watched() {
                let closed = self.closed.get_or_insert_with(|| Box::pin(client.closed()));
                if closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the client has disconnected".into())));
                }
            }
            deadline.response_body_polled(false);
            if deadline.poll_expired(cx).is_ready() {
                self.fail("the upstream has sent nothing for too long".into(), cx);
            }
            return Poll::Pending;
        };
        deadline.response_body_polled(true);
        match frame {
            Some(Ok(frame)) => {
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.fail(error.into(), cx);
                Poll::Pending
            }
        }
    }

    /// The upstream's body has ended early.
    fn fail(&mut self, error: BodyError, cx: &Context<'_>) {
        if let Some(exchange) = &self.exchange {
            tracing::warn!(
                workload = %exchange.visit.workload().name(),
                generation = %exchange.visit.generation(),
                error = %error,
                "upstream closed the connection before the end of its response"
            );
        }
        // The connection cannot be reused; dropping it closes it.
        self.upstream = None;
        self.failure = Some(error);
        // hyper discards its write buffer when a body fails. Returning Pending once lets it write
        // the buffer first, so the client receives everything that arrived.
        cx.waker().wake_by_ref();
    }

    /// The upstream has sent its last byte.
    fn end(&mut self) {
        if let (Some(upstream), Some(exchange)) = (self.upstream.take(), self.exchange.take()) {
            if exchange.is_uploading() {
                // The response ended before the request. The upstream has a short time to read the
                // rest.
                upstream.close_soon();
            } else {
                upstream.give_back();
            }
        }
    }
}
