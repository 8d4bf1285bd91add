//! Connects to one endpoint, regardless of the request's URI.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::TokioIo,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OnceCell,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{label::bare, permission, tls};
use crate::settings::{Identity, Transport, Trust};

/// Timeout of connecting, including TLS.
const CONNECT: Duration = Duration::from_secs(10);

/// An HTTP/2 client.
pub(super) type GrpcClient = Client<Connector, tonic::body::Body>;

/// Connects to one endpoint.
#[derive(Clone)]
pub(super) struct Connector {
    dialer: Arc<Dialer>,
}

struct Dialer {
    transport: Transport,
    /// ALPN protocols.
    protocols: &'static [&'static [u8]],
    tls: OnceCell<Arc<ClientConfig>>,
}

/// A connection over any transport.
pub(super) struct Stream(Box<dyn Io>);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

// === impl Connector ===

impl Connector {
    pub(super) fn new(transport: Transport, protocols: &'static [&'static [u8]]) -> Self {
        Self { dialer: Arc::new(Dialer { transport, protocols, tls: OnceCell::new() }) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.dialer.clone();
        Box::pin(async move {
            let stream = tokio::time::timeout(CONNECT, dialer.connect()).await;
            let stream = stream.map_err(|_| io::Error::other("no connection within 10 s"))??;
            Ok(TokioIo::new(stream))
        })
    }
}

// === impl Dialer ===

impl Dialer {
    async fn connect(&self) -> io::Result<Stream> {
        match &self.transport {
            Transport::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Stream(Box::new(stream))),
                Err(error) => {
                    let path = path.clone();
                    let explain = move || permission::explain(&path, error);
                    let explained = tokio::task::spawn_blocking(explain).await;
                    Err(explained.map_err(io::Error::other)?)
                }
            },
            Transport::Http { host, port } => Ok(Stream(Box::new(tcp(host, *port).await?))),
            Transport::Https { host, port, trust, identity } => {
                let load = || self.load(trust, identity.as_ref());
                let config = self.tls.get_or_try_init(load).await?.clone();
                let name = ServerName::try_from(bare(host).to_owned()).map_err(io::Error::other)?;
                let stream = tcp(host, *port).await?;
                Ok(Stream(Box::new(TlsConnector::from(config).connect(name, stream).await?)))
            }
            Transport::Udp { .. } => Err(io::Error::other("it accepts datagrams only")),
        }
    }

    async fn load(
        &self,
        trust: &Trust,
        identity: Option<&Identity>,
    ) -> io::Result<Arc<ClientConfig>> {
        let (trust, identity) = (trust.clone(), identity.cloned());
        let load = move || tls::config(&trust, identity.as_ref());
        let loaded = tokio::task::spawn_blocking(load).await;
        let mut config = loaded.map_err(io::Error::other)?.map_err(io::Error::other)?;
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// The operator configured this host, so the connection is made to any address it resolves to. Only
/// addresses that a plugin reports are checked, by
/// [`AddressPolicy`](crate::address_policy::AddressPolicy).
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((bare(host), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Stream ===

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
