//! Clients of granted endpoints: connections for HTTP and gRPC with the headers that the host adds,
//! and datagrams.

mod connect;
pub(crate) mod datagrams;
pub(crate) mod grpc;
pub(crate) mod label;
mod permission;
mod secret;
mod tls;
mod token;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};

use self::{
    connect::{Connector, GrpcClient},
    label::{EndpointLabel, SendError, bracketed, root_cause},
    secret::SecretHeader,
    token::Tokens,
};
use crate::{
    grants::masked_url,
    settings::{EndpointGrant, Transport},
    text::seconds,
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
    calls: GrpcClient,
}

/// A request that the rules allow.
pub(crate) struct OutgoingRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
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

    /// Returns whether the host sets this header.
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
        let description = format!("{method} {path} on endpoint {:?}", self.label.name);
        let request = self.request(outgoing, &description).await?;
        let late = |_| {
            SendError::Timeout(format!("{description}: no response within {}", seconds(timeout)))
        };
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await.map_err(late)?;
        let response = answer.map_err(|error| self.send_error_of(&description, &error))?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Broken(format!(
                "{description}: the response is an upgrade, which is refused"
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
        description: &str,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let OutgoingRequest { method, path, mut headers, body, .. } = outgoing;
        let invalid = |what: &str| SendError::Invalid(format!("{description}: {what}"));
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

    fn send_error_of(&self, description: &str, error: &Error) -> SendError {
        let cause = root_cause(error);
        if error.is_connect() {
            self.label.unavailable(cause)
        } else {
            SendError::Broken(format!("{description}: the connection broke: {cause}"))
        }
    }
}

#[cfg(test)]
mod tests;
