//! New connections to upstreams.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice, Read},
    net::{IpAddr, SocketAddr},
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
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    bind::keepalive, body::Upload, pool::Link, settings::HttpLimits, suspicion::Suspicion,
};

/// Bytes of a response's head, as many as fit the largest cookies.
const HEAD_BYTES: usize = 128 << 10;
/// Bytes of an upstream's body that wait for a slow client, per connection.
const BUFFER: usize = 128 << 10;
/// The kernel gives up an upstream that acknowledges or takes nothing so much later than we do.
const LATER: Duration = Duration::from_secs(15);
/// Maximum addresses of one name that are tried.
const ADDRESSES: usize = 16;

/// An upstream's socket. What cannot be written any more is thrown away, so that an answer which
/// the upstream gave before it closed is still read: it may refuse a request halfway. When the
/// instance has ended nothing is written, and nothing is read beyond what has arrived.
struct UpstreamIo {
    stream: TcpStream,
    deaf: bool,
    instance: Arc<Instance>,
}

type Connection = http1::Connection<TokioIo<UpstreamIo>, Upload>;

/// Connects to an instance, where `policy` permits it. The connection's driver runs on this thread until the link is dropped
/// and the last exchange is over, or until the instance has ended.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    policy: &dyn DialPolicy,
    limits: &HttpLimits,
    instance: &Arc<Instance>,
    suspicion: &Rc<Suspicion>,
) -> io::Result<Link> {
    let stream = timeout(limits.connect_timeout, open(host, port, policy))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    prepare(&stream, limits)?;
    let (requests, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_header_size(HEAD_BYTES)
        .handshake(TokioIo::new(UpstreamIo { stream, deaf: false, instance: instance.clone() }))
        .await
        .map_err(io::Error::other)?;
    let (instance, idle) = (instance.clone(), Rc::new(Cell::new(false)));
    let driving = drive(connection, instance.clone(), idle.clone(), suspicion.clone());
    let driver = tokio::task::spawn_local(driving).abort_handle();
    Ok(Link { requests, driver, instance, idle })
}

/// Moves what is sent and received until the connection ends.
async fn drive(
    connection: Connection,
    instance: Arc<Instance>,
    idle: Rc<Cell<bool>>,
    suspicion: Rc<Suspicion>,
) {
    let mut connection = pin!(connection.with_upgrades());
    let mut ended = pin!(instance.ended());
    let mut waits = false;
    let result = poll_fn(|cx| {
        // Polled once, so that the end of the instance wakes this task: the socket then tells the
        // connection of it.
        if !std::mem::replace(&mut waits, true) {
            let _ = ended.as_mut().poll(cx);
        }
        connection.as_mut().poll(cx)
    })
    .await;
    // Whoever waits for an answer is told of the error too, and knows what it means.
    if let Err(error) = &result {
        tracing::trace!(%error, "upstream connection ended");
    }
    if idle.get() || result.is_err_and(|error| !error.is_user()) {
        suspicion.broke_off(&instance);
    }
}

/// What has arrived of a stream's bytes though its instance has ended; an error when it is all.
pub(crate) fn read_rest(stream: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    match (&*SockRef::from(stream)).read(buf.initialize_unfilled()) {
        Ok(count) => {
            buf.advance(count);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(has_ended()),
        Err(error) => Err(error),
    }
}

/// The error of who would read from an instance that has ended, or write to it.
pub(crate) fn has_ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the instance has ended")
}

/// The bare socket after a switch of protocols, and what was read ahead of it.
pub(crate) fn bare(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<UpstreamIo>>().ok()?;
    Some((parts.io.into_inner().stream, parts.read_buf))
}

/// An upstream's machine that has vanished is noticed, whoever was to speak.
fn prepare(stream: &TcpStream, limits: &HttpLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(limits.response_timeout.saturating_add(LATER)))
}

/// Opens a connection to the first address of a host that `policy` permits and that accepts one. A
/// name is looked up here, on a thread that may block, and nowhere after the judgement: the address
/// that was judged is the one that is connected to. The error is of kind `PermissionDenied` when
/// every address is refused.
pub(crate) async fn open(host: &str, port: u16, policy: &dyn DialPolicy) -> io::Result<TcpStream> {
    let (mut refused, mut failed) = (None, None);
    for address in resolve(host, port).await? {
        if let Err(refusal) = policy.check(host, address).await {
            refused.get_or_insert_with(|| io::Error::new(io::ErrorKind::PermissionDenied, refusal));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    Err(failed.or(refused).unwrap_or_else(nothing))
}

/// The addresses of a host, as they are connected to: IPv4 in its own form.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
    }
    let found = lookup_host((host, port)).await?.take(ADDRESSES);
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        // Keeps its scope.
        IpAddr::V6(_) => address,
    };
    Ok(found.map(canonical).collect())
}

// === impl UpstreamIo ===

impl UpstreamIo {
    /// The last look before bytes leave this program.
    fn is_deaf(&mut self) -> bool {
        self.deaf |= self.instance.has_ended();
        self.deaf
    }

    fn heard(&mut self, result: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(_)) => {
                self.deaf = true;
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
            Poll::Pending if self.instance.has_ended() => Poll::Ready(read_rest(&self.stream, buf)),
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
        if self.is_deaf() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.heard(result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_deaf() {
            return Poll::Ready(Ok(length));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.heard(result, length)
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
pub(crate) mod tests;
