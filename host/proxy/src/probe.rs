//! Looks at workloads over the network.

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use drowse_core::{Address, Prober, ReadyCheck};
use http::{
    Request, StatusCode,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::upstream;

/// One look takes at most so long.
const LIMIT: Duration = Duration::from_secs(1);

/// Probes by TCP and HTTP. It looks at the address that visitors would be sent to.
#[derive(Clone, Debug, Default)]
pub struct NetProber {}

// === impl NetProber ===

impl NetProber {
    /// A prober; it has no state and needs a runtime with time and I/O when it is used.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(&self, check: &ReadyCheck, addresses: &[Address]) -> Result<(), String> {
        match check {
            ReadyCheck::Started => Ok(()),
            ReadyCheck::Tcp { port } => {
                let (host, port) = place(addresses, *port)?;
                within(&format!("connect {host}:{port}"), upstream::open(host, port)).await?;
                Ok(())
            }
            ReadyCheck::Http { port, method, path, status, host } => {
                let (address, port) = place(addresses, *port)?;
                let what = format!("{method} {path}");
                let named = host.clone().unwrap_or_else(|| authority(address, port));
                let request = Request::builder()
                    .method(method.as_str())
                    .uri(path.as_str())
                    .header(HOST, named)
                    .header(USER_AGENT, "drowse-probe")
                    .header(CONNECTION, "close")
                    .body(Empty::<Bytes>::new())
                    .map_err(|error| format!("{what}: {error}"))?;
                let look = async {
                    let stream = upstream::open(address, port).await?;
                    ask(stream, request).await
                };
                let seen = within(&what, look).await?;
                let ready = match status {
                    Some(expected) => expected.contains(&seen.as_u16()),
                    None => !matches!(seen.as_u16(), 502..=504),
                };
                if ready { Ok(()) } else { Err(format!("{what}: {seen}")) }
            }
        }
    }
}

/// Where visitors of this port would be sent.
fn place(addresses: &[Address], port: u16) -> Result<(&str, u16), String> {
    addresses
        .iter()
        .find_map(|address| address.socket(port))
        .ok_or_else(|| format!("the provider knows no address for port {port}"))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

async fn within<T>(what: &str, look: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(LIMIT, look).await {
        Ok(seen) => seen.map_err(|error| format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer within {} s", LIMIT.as_secs())),
    }
}

/// Sends a request and waits for the response's head.
async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>) -> io::Result<StatusCode> {
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let response = requests.send_request(request);
    tokio::pin!(response, connection);
    tokio::select! {
        biased;
        response = &mut response => response,
        // The connection is over; what it has received is waiting.
        _ = &mut connection => response.await,
    }
    .map(|response| response.status())
    .map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
