//! HTTP connections to upstreams.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use drowse_core::{DialPolicy, Instance};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};

use super::request_body::RequestBody;
use crate::{
    bind::keepalive,
    dial::{dial, read_arrived},
    settings::HttpLimits,
    suspicion::Suspicion,
};

/// Maximum bytes of a response's head; large enough for the largest cookies.
const MAX_HEAD_BYTES: usize = 128 << 10;
/// Maximum bytes of a response body that are buffered for a slow client, per connection.
const BODY_BUFFER: usize = 128 << 10;
/// The kernel gives up an upstream that acknowledges nothing this much later than the response
/// timeout, so that the client receives the router's own response first.
const KERNEL_TIMEOUT_DELAY: Duration = Duration::from_secs(15);

/// An established connection: the side that sends requests, and the task that drives it.
pub(crate) struct Connection {
    pub(crate) requests: http1::SendRequest<RequestBody>,
    pub(crate) driver: AbortHandle,
    pub(crate) instance: Arc<Instance>,
    /// The connection is idle in the pool: if it ends now, the upstream has closed it.
    pub(crate) idle: Rc<Cell<bool>>,
}

/// An upstream's socket. A failed write discards its bytes instead of failing the connection, so
/// that a response which the upstream sent before it closed is still read: an upstream may refuse a
/// request halfway. Once the instance has ended nothing is written, and only bytes that have
/// already arrived are read.
struct UpstreamIo {
    stream: TcpStream,
    /// Writes are discarded.
    discards: bool,
    instance: Arc<Instance>,
}

type Driver = http1::Connection<TokioIo<UpstreamIo>, RequestBody>;

/// Connects to an instance, where `policy` permits it. A task of this thread drives the connection
/// until it is dropped and the last exchange is over, or until the instance has ended.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    policy: &dyn DialPolicy,
    limits: &HttpLimits,
    instance: &Arc<Instance>,
    suspicion: &Rc<Suspicion>,
) -> io::Result<Connection> {
    let stream = timeout(limits.connect_timeout, dial(host, port, policy))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    set_options(&stream, limits)?;
    let (requests, connection) = http1::Builder::new()
        .max_buf_size(BODY_BUFFER)
        .max_header_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(UpstreamIo { stream, discards: false, instance: instance.clone() }))
        .await
        .map_err(io::Error::other)?;
    let (instance, idle) = (instance.clone(), Rc::new(Cell::new(false)));
    let driving = drive(connection, instance.clone(), idle.clone(), suspicion.clone());
    let driver = tokio::task::spawn_local(driving).abort_handle();
    Ok(Connection { requests, driver, instance, idle })
}

/// Sends and receives until the connection ends.
async fn drive(
    connection: Driver,
    instance: Arc<Instance>,
    idle: Rc<Cell<bool>>,
    suspicion: Rc<Suspicion>,
) {
    let mut connection = pin!(connection.with_upgrades());
    let mut ended = pin!(instance.ended());
    let mut registered = false;
    let result = poll_fn(|cx| {
        // Polled once to be woken when the instance ends; the socket then reports the end.
        if !std::mem::replace(&mut registered, true) {
            let _ = ended.as_mut().poll(cx);
        }
        connection.as_mut().poll(cx)
    })
    .await;
    // The exchange in progress receives the error too, and logs it with its meaning.
    if let Err(error) = &result {
        tracing::trace!(%error, "upstream connection ended");
    }
    if idle.get() || result.is_err_and(|error| !error.is_user()) {
        suspicion.broke_off(&instance);
    }
}

/// The socket after a switch of protocols, and the bytes that hyper has read ahead.
pub(crate) fn into_socket(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<UpstreamIo>>().ok()?;
    Some((parts.io.into_inner().stream, parts.read_buf))
}

/// Sets the socket options by which the kernel notices that an upstream's machine has vanished,
/// whichever side was to send next.
fn set_options(stream: &TcpStream, limits: &HttpLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(limits.response_timeout.saturating_add(KERNEL_TIMEOUT_DELAY)))
}

// === impl Connection ===

impl Connection {
    /// A further request may be sent.
    pub(crate) fn is_usable(&self) -> bool {
        !self.requests.is_closed() && self.instance.is_open()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The router closes the connection, so its end is no sign that the instance has ended.
        self.idle.set(false);
    }
}

// === impl UpstreamIo ===

impl UpstreamIo {
    /// The last check before bytes leave the router.
    fn discards(&mut self) -> bool {
        self.discards |= self.instance.has_ended();
        self.discards
    }

    /// Turns a failed write into a discarded one.
    fn discard_on_error(
        &mut self,
        result: Poll<io::Result<usize>>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(_)) => {
                self.discards = true;
                Poll::Ready(Ok(length))
            }
            result => result,
        }
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending if self.instance.has_ended() => {
                Poll::Ready(read_arrived(&self.stream, buf))
            }
            result => result,
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.discards() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.discard_on_error(result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.discards() {
            return Poll::Ready(Ok(length));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.discard_on_error(result, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
