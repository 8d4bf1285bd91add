//! The two bodies of an exchange. The visit is held by both until each has passed its last byte.

use std::{
    cell::Cell,
    error::Error,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use drowse_core::Visit;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{access, client::Client, pool::Lease};

type BodyError = Box<dyn Error + Send + Sync>;

/// One request that was let in, and its answer.
pub(crate) struct Exchange {
    pub(crate) visit: Visit,
    client: Rc<Client>,
    uploading: Cell<bool>,
}

/// The request's body on its way to the upstream.
pub(crate) struct Upload {
    inner: Option<Incoming>,
    exchange: Option<Rc<Exchange>>,
    client: Rc<Client>,
    /// Names that no client may say anything under, also not behind the body.
    identity_headers: Arc<[String]>,
}

/// The answer's body on its way to the client.
pub(crate) struct Answered {
    kind: Kind,
    client: Rc<Client>,
}

enum Kind {
    Ours(Option<Bytes>),
    Live(Pin<Box<dyn Stream<Item = Bytes>>>),
    Relayed(Relayed),
}

/// A body from the upstream.
struct Relayed {
    inner: Incoming,
    /// Both given back after the last byte.
    exchange: Option<Rc<Exchange>>,
    lease: Option<Lease>,
    /// Notices that the client has gone while hyper does not look.
    gone: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Why the upstream's body ended too early, until hyper has been told.
    broken: Option<BodyError>,
}

// === impl Exchange ===

impl Exchange {
    pub(crate) fn new(visit: Visit, client: &Rc<Client>) -> Rc<Self> {
        Rc::new(Self { visit, client: client.clone(), uploading: Cell::new(false) })
    }

    /// The request's body has not passed its last byte.
    pub(crate) fn uploading(&self) -> bool {
        self.uploading.get()
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn new(body: Incoming, client: &Rc<Client>) -> Self {
        let inner = (!body.is_end_stream()).then_some(body);
        Self { inner, exchange: None, client: client.clone(), identity_headers: Arc::default() }
    }

    /// Trailers of these names, in lower case, are left out.
    pub(crate) fn leave_out(&mut self, identity_headers: &Arc<[String]>) {
        self.identity_headers = identity_headers.clone();
    }

    /// No body at all.
    pub(crate) fn empty(client: &Rc<Client>) -> Self {
        Self {
            inner: None,
            exchange: None,
            client: client.clone(),
            identity_headers: Arc::default(),
        }
    }

    /// There is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    /// The body belongs to this exchange from now on. Without one it holds no visit.
    pub(crate) fn belong(&mut self, exchange: Option<&Rc<Exchange>>) {
        self.exchange = exchange.filter(|_| self.inner.is_some()).cloned();
        if let Some(exchange) = &self.exchange {
            exchange.uploading.set(true);
        }
    }

    fn end(&mut self) {
        self.inner = None;
        if let Some(exchange) = self.exchange.take() {
            exchange.uploading.set(false);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *inner).poll_frame(cx) else {
            this.client.upload(false);
            return Poll::Pending;
        };
        this.client.upload(true);
        match &frame {
            Some(Ok(frame)) if frame.is_trailers() || inner.is_end_stream() => self.end(),
            Some(Ok(_)) => {}
            None => self.end(),
            Some(Err(_)) => self.client.broke_off.set(true),
        }
        // Some backends take trailers for headers.
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    access::strip_trailers(&self.identity_headers, &mut trailers);
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

impl Drop for Upload {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.client.cut_short.set(true);
        }
    }
}

// === impl Answered ===

impl Answered {
    /// Bytes of our own.
    pub(crate) fn ours(bytes: Bytes, client: &Rc<Client>) -> Self {
        let kind = Kind::Ours(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { kind, client: client.clone() }
    }

    /// A stream of our own.
    pub(crate) fn live(pieces: impl Stream<Item = Bytes> + 'static, client: &Rc<Client>) -> Self {
        Self { kind: Kind::Live(Box::pin(pieces)), client: client.clone() }
    }

    /// An upstream's body. The lease goes back to the pool after its last byte.
    pub(crate) fn relayed(inner: Incoming, exchange: Rc<Exchange>, lease: Lease) -> Self {
        let client = exchange.client.clone();
        client.answer_begins();
        let mut relayed = Relayed {
            inner,
            exchange: Some(exchange),
            lease: Some(lease),
            gone: None,
            broken: None,
        };
        if relayed.inner.is_end_stream() {
            relayed.end();
        }
        Self { kind: Kind::Relayed(relayed), client }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Live(pieces) => {
                pieces.as_mut().poll_next(cx).map(|piece| Some(Ok(Frame::data(piece?))))
            }
            Kind::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ours(bytes) => bytes.is_none(),
            Kind::Live(_) => false,
            Kind::Relayed(relayed) => relayed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ours(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Live(_) => SizeHint::default(),
            Kind::Relayed(relayed) => relayed.inner.size_hint(),
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.client.answer_ends();
    }
}

// === impl Relayed ===

impl Relayed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // There is none after the last byte.
        let Some(exchange) = self.exchange.clone() else { return Poll::Ready(None) };
        let client = &exchange.client;
        // hyper asks again when it has written what it holds.
        if self.broken.is_some() && client.socket.is_stuck() {
            return Poll::Pending;
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if exchange.uploading() || !client.socket.is_watched() {
                let gone = self.gone.get_or_insert_with(|| Box::pin(client.socket.clone().gone()));
                if gone.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the client has gone".into())));
                }
            }
            client.download(false);
            if client.poll_overdue(cx).is_ready() {
                self.break_off("it has sent nothing for too long".into(), cx);
            }
            return Poll::Pending;
        };
        client.download(true);
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
                self.break_off(error.into(), cx);
                Poll::Pending
            }
        }
    }

    /// The upstream's body has ended too early.
    fn break_off(&mut self, error: BodyError, cx: &Context<'_>) {
        self.warn(&*error);
        // The connection is of no more use; dropping the lease closes it.
        self.lease = None;
        self.broken = Some(error);
        // hyper throws away what it has not written when a body fails. Asked to wait a moment, it
        // writes that first, and the client learns as much as we know.
        cx.waker().wake_by_ref();
    }

    fn warn(&self, error: &dyn Error) {
        if let Some(exchange) = &self.exchange {
            tracing::warn!(
                workload = %exchange.visit.workload().name(),
                generation = %exchange.visit.generation(),
                error = %error,
                "upstream broke off in the middle of its answer"
            );
        }
    }

    /// The upstream has sent everything.
    fn end(&mut self) {
        if let (Some(lease), Some(exchange)) = (self.lease.take(), self.exchange.take()) {
            if exchange.uploading() {
                // It answered before it had everything. Whether it takes the rest is its affair,
                // but not for ever.
                lease.close_soon();
            } else {
                lease.give_back();
            }
        }
    }
}
