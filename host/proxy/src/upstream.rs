//! New connections to upstreams.

use std::{io, net::IpAddr};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{pool::Link, settings::HttpLimits};

/// Bytes of a response's head, as many as fit the largest cookies.
const HEAD_BYTES: usize = 128 << 10;
/// Bytes of an upstream's body that wait for a slow client, per connection.
const BUFFER: usize = 128 << 10;

/// Connects to an upstream. The connection's driver runs on this thread until the link is dropped
/// and the last exchange is over.
pub(crate) async fn connect(host: &str, port: u16, limits: &HttpLimits) -> io::Result<Link> {
    let stream = timeout(limits.connect_timeout, open(host, port))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    stream.set_nodelay(true)?;
    let (requests, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_header_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driver = tokio::task::spawn_local(async move {
        // Whoever waits for an answer is told of the error too, and knows what it means.
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "upstream connection ended");
        }
    });
    Ok(Link { requests, driver: driver.abort_handle() })
}

/// An address is connected to at once; a name is resolved first, on a thread that may block.
pub(crate) async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    }
}
