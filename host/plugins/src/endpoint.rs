//! Clients of granted endpoints: connections for HTTP and gRPC with the headers that the host adds,
//! and datagrams.

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

/// Maximum idle connections per endpoint.
const IDLE_CONNECTIONS: usize = 8;
/// Time until an idle connection is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A granted HTTP endpoint.
pub(crate) struct Endpoint {
    label: EndpointLabel,
    origin: String,
    base: String,
    headers: Vec<SecretHeader>,
    tokens: Option<Box<Tokens>>,
    timeout: Duration,
    client: Client<Connector, Full<Bytes>>,
    /// HTTP/2 client for gRPC.
    calls: grpc::Client,
}

/// Name and address of an endpoint in messages for guests and operators.
pub(crate) struct EndpointLabel {
    name: String,
    url: String,
    /// Cause of the last connection failure.
    cause: Mutex<String>,
}

/// A request that the rules allow.
pub(crate) struct OutgoingRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// Why there is no response. The messages go to the guest and do not contain the endpoint's
/// address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection failed while sending or receiving.
    Broken(String),
    /// The request is invalid.
    Invalid(String),
    /// The server of a gRPC call answered with a status other than OK.
    Status { code: tonic::Code, message: String },
    /// The response head did not arrive in time.
    Timeout(String),
    /// The endpoint is unreachable; nothing was sent.
    Unavailable(String),
}

// === impl Endpoint ===

impl Endpoint {
    /// A client for this grant. Files are read and connections made on first use.
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
            label: EndpointLabel::new(name, url),
            origin,
            base: grant.base.clone(),
            headers: grant.headers.iter().map(|(n, s)| SecretHeader::new(n, s.clone())).collect(),
            tokens: grant
                .token
                .as_deref()
                .map(|token_grant| Box::new(Tokens::new(name, token_grant))),
            timeout: grant.timeout,
            client,
            calls,
        }
    }

    /// Its label.
    pub(crate) fn label(&self) -> &EndpointLabel {
        &self.label
    }

    /// Whether the host sets this header.
    pub(crate) fn sets(&self, name: &HeaderName) -> bool {
        let token = self.tokens.is_some() && *name == header::AUTHORIZATION;
        token || self.headers.iter().any(|header| header.is(name))
    }

    /// Sends a request and returns when the response head arrives. Dropping it closes the
    /// connection.
    pub(crate) async fn send(
        &self,
        outgoing: OutgoingRequest,
    ) -> Result<Response<Incoming>, SendError> {
        let timeout = outgoing.timeout.map_or(self.timeout, |wanted| wanted.min(self.timeout));
        let (method, path) = (&outgoing.method, masked_url(&outgoing.path));
        let asked = format!("{method} {path} on endpoint {:?}", self.label.name);
        let request = self.request(outgoing, &asked).await?;
        let late =
            |_| SendError::Timeout(format!("{asked}: no response within {}", seconds(timeout)));
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await.map_err(late)?;
        let response = answer.map_err(|error| self.send_error_of(&asked, &error))?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Broken(format!(
                "{asked}: the response is an upgrade, which is refused"
            )));
        }
        Ok(response)
    }

    /// Sends a request, and again with a bearer token if the endpoint asks for one.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let Some(tokens) = &self.tokens else { return self.client.request(request).await };
        let with = |token: Option<HeaderValue>| {
            let mut request = request.clone();
            request.headers_mut().extend(token.map(|token| (header::AUTHORIZATION, token)));
            request
        };
        let response = self.client.request(with(tokens.latest())).await?;
        match tokens.for_response(response.status(), response.headers()).await {
            Ok(Some(token)) => self.client.request(with(Some(token))).await,
            Ok(None) => Ok(response),
            Err(cause) => {
                let (endpoint, url) = (&self.label.name, &self.label.url);
                tracing::warn!(endpoint, url, cause, "no token for an endpoint could be fetched");
                Ok(response)
            }
        }
    }

    async fn request(
        &self,
        outgoing: OutgoingRequest,
        asked: &str,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let OutgoingRequest { method, path, mut headers, body, .. } = outgoing;
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

    /// Adds the headers of the grant.
    async fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), SendError> {
        for header in &self.headers {
            let (name, value): (HeaderName, HeaderValue) =
                header.read().await.map_err(|cause| self.label.unavailable(cause))?;
            headers.insert(name, value);
        }
        Ok(())
    }

    fn send_error_of(&self, asked: &str, error: &Error) -> SendError {
        let cause = root_cause(error);
        if error.is_connect() {
            self.label.unavailable(cause)
        } else {
            SendError::Broken(format!("{asked}: the connection broke: {cause}"))
        }
    }
}

// === impl EndpointLabel ===

impl EndpointLabel {
    fn new(name: &str, url: String) -> Self {
        Self { name: name.to_owned(), url, cause: Mutex::new(String::new()) }
    }

    /// The message for guests if the endpoint is unreachable. It contains neither the address nor
    /// the cause, which may concern secrets.
    pub(crate) fn unreached(&self) -> String {
        format!("endpoint {:?} cannot be reached", self.name)
    }

    /// The message for the operator, with address and cause.
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

/// The root cause of an error.
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A host without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests;
