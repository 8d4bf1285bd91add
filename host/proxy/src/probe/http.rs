//! One look by HTTP: a request, and the head of its response.

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

use super::within;
use crate::upstream;

/// The request of one look.
pub(super) struct Question<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The `Host` header; the address itself when absent.
    pub(super) host: Option<&'a str>,
}

/// What makes a response's head one of a workload that is ready.
pub(super) struct Expected<'a> {
    /// Any but 502, 503 and 504 when absent.
    pub(super) status: Option<RangeInclusive<u16>>,
    /// A header that must be there, with this value if there is one.
    pub(super) header: Option<(&'a str, Option<&'a str>)>,
}

/// Asks once. The error says what was seen instead.
pub(super) async fn look(
    (address, port): (&str, u16),
    policy: &dyn DialPolicy,
    &Question { method, path, host }: &Question<'_>,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let what = format!("{method} {path}");
    let named = host.map_or_else(|| authority(address, port), str::to_owned);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, named)
        .header(USER_AGENT, "drowse-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{what}: {error}"))?;
    let asked = async {
        let stream = upstream::open(address, port, policy).await?;
        ask(stream, request).await
    };
    let seen = within(&what, asked).await?;
    expected.compare(&seen).map_err(|seen| format!("{what}: {seen}"))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Sends a request and waits for the response's head.
async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>) -> io::Result<Response<Incoming>> {
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
    .map_err(io::Error::other)
}

// === impl Expected ===

impl Expected<'_> {
    /// The error says what was seen.
    fn compare<B>(&self, seen: &Response<B>) -> Result<(), String> {
        let status = seen.status();
        let ready = match &self.status {
            Some(expected) => expected.contains(&status.as_u16()),
            None => !matches!(status.as_u16(), 502..=504),
        };
        if !ready {
            return Err(status.to_string());
        }
        let Some((name, wanted)) = self.header else { return Ok(()) };
        let mut values = seen.headers().get_all(name).iter();
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
