//! The HTTP probe: one request, and the head of its response.

use std::{io, ops::RangeInclusive};

use bytes::Bytes;
use drowse_core::DialPolicy;
use http::{
    Request, Response,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::limit::within_limit;
use crate::dial::dial;

/// The request of a probe.
pub(super) struct ProbeRequest<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The `Host` header; address and port when absent.
    pub(super) host: Option<&'a str>,
}

/// The response of a workload that is ready.
pub(super) struct Expected<'a> {
    /// The statuses; when absent, all but 502, 503 and 504.
    pub(super) status: Option<RangeInclusive<u16>>,
    /// A required header, and its value if one is required.
    pub(super) header: Option<(&'a str, Option<&'a str>)>,
}

/// Probes once. The error describes the response that was received instead.
pub(super) async fn probe(
    (address, port): (&str, u16),
    policy: &dyn DialPolicy,
    &ProbeRequest { method, path, host }: &ProbeRequest<'_>,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let attempt = format!("{method} {path}");
    let host = host.map_or_else(|| authority(address, port), str::to_owned);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, "drowse-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{attempt}: {error}"))?;
    let response = async {
        let stream = dial(address, port, policy).await?;
        send(stream, request).await
    };
    let response = within_limit(&attempt, response).await?;
    expected.compare(&response).map_err(|difference| format!("{attempt}: {difference}"))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Sends a request and waits for the response's head.
async fn send(stream: TcpStream, request: Request<Empty<Bytes>>) -> io::Result<Response<Incoming>> {
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let response = requests.send_request(request);
    tokio::pin!(response, connection);
    tokio::select! {
        biased;
        response = &mut response => response,
        // The connection has ended; a response that it received is still delivered.
        _ = &mut connection => response.await,
    }
    .map_err(io::Error::other)
}

// === impl Expected ===

impl Expected<'_> {
    /// The error describes the difference.
    fn compare<B>(&self, response: &Response<B>) -> Result<(), String> {
        let status = response.status();
        let ready = match &self.status {
            Some(expected) => expected.contains(&status.as_u16()),
            None => !matches!(status.as_u16(), 502..=504),
        };
        if !ready {
            return Err(status.to_string());
        }
        let Some((name, wanted)) = self.header else { return Ok(()) };
        let mut values = response.headers().get_all(name).iter();
        let Some(first) = values.next() else {
            return Err(format!("{status} without the header {name}"));
        };
        let Some(wanted) = wanted else { return Ok(()) };
        if first == wanted || values.any(|value| value == wanted) {
            return Ok(());
        }
        let first = String::from_utf8_lossy(first.as_bytes());
        let first: String = first.chars().take(100).collect();
        Err(format!("{status} with {name}: {first:?} instead of {wanted:?}"))
    }
}
