//! The way to a granted endpoint: its connections for HTTP and gRPC and the headers that the host
//! adds, or its datagrams.

mod connect;
mod datagrams;
pub(crate) mod grpc;
mod permission;
mod secret;
mod tls;
mod token;

use std::{
    error::Error as StdError,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};

pub(crate) use self::datagrams::Datagrams;
use self::{connect::Connector, secret::SecretHeader, token::Tokens};
use crate::{
    fault::seconds,
    grants::masked_url,
    settings::{EndpointGrant, Transport},
};

/// Connections kept open to one endpoint while nothing is asked.
const IDLE_CONNECTIONS: usize = 8;
/// How long they are kept.
const IDLE: Duration = Duration::from_secs(60);

/// A granted endpoint, ready to be called.
pub(crate) struct Endpoint {
    place: Place,
    origin: String,
    base: String,
    headers: Vec<SecretHeader>,
    tokens: Option<Box<Tokens>>,
    timeout: Duration,
    client: Client<Connector, Full<Bytes>>,
    /// For gRPC.
    calls: grpc::Client,
}

/// What guests and operators are told of where an endpoint is.
pub(crate) struct Place {
    name: String,
    url: String,
    /// Why nothing could be sent the last time.
    cause: Mutex<String>,
}

/// A request that has passed the rules.
pub(crate) struct Outgoing {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// Why there is no response. Texts do not say where the endpoint is: they go to the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// Broken while sending or receiving.
    Broken(String),
    /// It is not a request.
    Invalid(String),
    /// The server of a gRPC call answered with a status other than OK.
    Status { code: tonic::Code, message: String },
    /// No response head in time.
    Timeout(String),
    /// Nothing was sent.
    Unavailable(String),
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint of this grant. Nothing is read or connected to before it is first used.
    pub(crate) fn new(name: &str, grant: &EndpointGrant) -> Self {
        let (origin, url) = match &grant.transport {
            Transport::Unix(path) => {
                ("http://localhost".into(), format!("unix://{}", path.display()))
            }
            Transport::Http { host, port } => {
                let origin = format!("http://{}:{port}", bracketed(host));
                (origin.clone(), origin)
            }
            Transport::Https { host, port, .. } => {
                let origin = format!("https://{}:{port}", bracketed(host));
                (origin.clone(), origin)
            }
            Transport::Udp { host, port } => {
                let origin = format!("udp://{}:{port}", bracketed(host));
                (origin.clone(), origin)
            }
        };
        let mut clients = Client::builder(TokioExecutor::new());
        clients
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new());
        let client = clients.build(Connector::new(grant.transport.clone(), &[]));
        let calls =
            clients.http2_only(true).build(Connector::new(grant.transport.clone(), &[b"h2"]));
        Self {
            place: Place::new(name, url),
            origin,
            base: grant.base.clone(),
            headers: grant.headers.iter().map(|(n, s)| SecretHeader::new(n, s.clone())).collect(),
            tokens: grant.token.as_deref().map(|giver| Box::new(Tokens::new(name, giver))),
            timeout: grant.timeout,
            client,
            calls,
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the host itself sets this header.
    pub(crate) fn sets(&self, name: &HeaderName) -> bool {
        let token = self.tokens.is_some() && *name == header::AUTHORIZATION;
        token || self.headers.iter().any(|header| header.is(name))
    }

    /// Sends a request; returns when the response's head is there. Dropping it abandons the
    /// connection.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Response<Incoming>, SendError> {
        let timeout = outgoing.timeout.map_or(self.timeout, |wanted| wanted.min(self.timeout));
        let (method, path) = (&outgoing.method, masked_url(&outgoing.path));
        let asked = format!("{method} {path} on endpoint {:?}", self.place.name);
        let request = self.request(outgoing, &asked).await?;
        let late =
            |_| SendError::Timeout(format!("{asked}: no answer within {}", seconds(timeout)));
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await.map_err(late)?;
        let response = answer.map_err(|error| self.explain(&asked, &error))?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Broken(format!(
                "{asked}: it answered with an upgrade, which is refused"
            )));
        }
        Ok(response)
    }

    /// Sends a request, and sends it again with the token that is asked for.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let Some(tokens) = &self.tokens else { return self.client.request(request).await };
        let with = |token: Option<HeaderValue>| {
            let mut request = request.clone();
            request.headers_mut().extend(token.map(|token| (header::AUTHORIZATION, token)));
            request
        };
        let response = self.client.request(with(tokens.latest())).await?;
        match tokens.answer(response.status(), response.headers()).await {
            Ok(Some(token)) => self.client.request(with(Some(token))).await,
            Ok(None) => Ok(response),
            Err(cause) => {
                let (endpoint, url) = (&self.place.name, &self.place.url);
                tracing::warn!(endpoint, url, cause, "an endpoint's token cannot be had");
                Ok(response)
            }
        }
    }

    async fn request(
        &self,
        outgoing: Outgoing,
        asked: &str,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let Outgoing { method, path, mut headers, body, .. } = outgoing;
        let invalid = |what: &str| SendError::Invalid(format!("{asked}: {what}"));
        let method: Method = method.parse().map_err(|_| invalid("the method is not valid"))?;
        let uri: Uri = format!("{}{}{path}", self.origin, self.base)
            .parse()
            .map_err(|_| invalid("the path contains a character that must be percent-encoded"))?;
        self.add_headers(&mut headers).await?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Adds what the grant says.
    async fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), SendError> {
        for header in &self.headers {
            let (name, value): (HeaderName, HeaderValue) =
                header.read().await.map_err(|cause| self.place.unavailable(cause))?;
            headers.insert(name, value);
        }
        Ok(())
    }

    fn explain(&self, asked: &str, error: &Error) -> SendError {
        let cause = innermost(error);
        if error.is_connect() {
            self.place.unavailable(cause)
        } else {
            SendError::Broken(format!("{asked}: the connection broke: {cause}"))
        }
    }
}

// === impl Place ===

impl Place {
    fn new(name: &str, url: String) -> Self {
        Self { name: name.to_owned(), url, cause: Mutex::new(String::new()) }
    }

    /// What a guest is told when nothing can be sent. Where the endpoint is and what is wrong with
    /// it or its secrets is not for guests.
    pub(crate) fn unreached(&self) -> String {
        format!("endpoint {:?} cannot be reached", self.name)
    }

    /// The same for the operator.
    pub(crate) fn unreached_because(&self) -> String {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, url) = (&self.name, &self.url);
        format!("endpoint {name:?} at {url} cannot be reached: {cause}")
    }

    fn unavailable(&self, cause: String) -> SendError {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
        SendError::Unavailable(self.unreached())
    }
}

/// What all began with.
fn innermost(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// An address without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests;
