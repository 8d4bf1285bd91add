//! Forward authentication: the method, address and headers of each request are sent to an HTTP
//! service. A 2xx response lets the request pass, every other response is relayed to the client.

use std::{error::Error, io, net::IpAddr, time::Duration};

use bytes::Bytes;
use drowse_routes::ForwardAuth;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
    request,
};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::{
    access::identity::{Identity, strip, strip_identity_headers},
    format::ErrorChain,
    http::headers::{Origin, X_FORWARDED_HOST, to_client, to_upstream},
    http::rejection::{ProblemDetails, Rejection},
};

/// Maximum bytes of a response body that is relayed, such as a login page.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Maximum idle connections per service and thread.
const MAX_IDLE: usize = 16;
/// Time after which an idle connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers that describe the client's body, cache or connection. They are not sent to the service,
/// which gets a request without a body.
const NOT_FORWARDED: &[HeaderName] = &[
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Headers by which proxies name the original method and address to a service. Removed from the
/// client's request, where they are forged.
const ORIGINAL_REQUEST_HEADERS: &[&str] = &[
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-http-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Sends authentication requests. One per thread, with connections of its own.
pub(crate) struct ForwardAuthClient {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// The reason why a service gave no response.
enum RequestError {
    TimedOut,
    Failed {
        error: String,
        /// The connection ended before the response began.
        broke_off: bool,
    },
}

// === impl ForwardAuthClient ===

impl ForwardAuthClient {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Self { client }
    }

    /// Authenticates a request. Returns the identity that the service reports; the error is the
    /// service's own response, or a 502 or 504 when there is none.
    pub(super) async fn authenticate(
        &self,
        auth: &str,
        settings: &ForwardAuth,
        client: IpAddr,
        origin: &Origin<'_>,
        head: &mut request::Parts,
    ) -> Result<Identity, Rejection> {
        strip_identity_headers(&settings.headers, &mut head.headers);
        let request = auth_request(settings, origin, head);
        let error = match self.send(settings, request).await {
            Ok(response) if response.status().is_success() => {
                for name in &settings.headers {
                    strip(&mut head.headers, name);
                }
                return Ok(identity(&settings.headers, response.headers()));
            }
            Ok(response) => {
                let status = response.status().as_u16();
                // A redirect to the login page is not a failed attempt.
                if response.status().is_redirection() {
                    tracing::debug!(auth, %client, status, "client redirected to authenticate");
                } else {
                    tracing::info!(auth, %client, status, "authentication refused by the service");
                }
                return relay(auth, response);
            }
            Err(error) => error,
        };
        let (status, error) = match error {
            RequestError::TimedOut => {
                let limit = settings.timeout;
                (StatusCode::GATEWAY_TIMEOUT, format!("no response within {limit:?}"))
            }
            RequestError::Failed { error, .. } => (StatusCode::BAD_GATEWAY, error),
        };
        let service = format_args!("{}:{}", settings.host, settings.port);
        tracing::warn!(
            auth, %service, error,
            "request refused: the authentication service does not respond"
        );
        let detail = "The authentication service does not respond.";
        Err(ProblemDetails::new(status, detail).into())
    }

    /// Sends the request within the service's timeout. Retries once if the connection ended before
    /// the response began: an idle connection may have been closed by the service.
    async fn send(
        &self,
        settings: &ForwardAuth,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, RequestError> {
        let attempts = async {
            match self.try_send(request.clone()).await {
                Err(RequestError::Failed { broke_off: true, .. }) => self.try_send(request).await,
                result => result,
            }
        };
        timeout(settings.timeout, attempts).await.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn try_send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, RequestError> {
        let failed = |error: hyper_util::client::legacy::Error| RequestError::Failed {
            error: ErrorChain(&error).to_string(),
            broke_off: !error.is_connect() && broke_off(&error),
        };
        let (head, body) = self.client.request(request).await.map_err(failed)?.into_parts();
        match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => Ok(Response::from_parts(head, Full::new(body.to_bytes()))),
            // Only the head of a 2xx response is used.
            Err(_) if head.status.is_success() => Ok(Response::from_parts(head, Full::default())),
            Err(error) => Err(RequestError::Failed { error: error.to_string(), broke_off: false }),
        }
    }
}

/// The connection ended before the response began.
fn broke_off(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let incomplete =
            error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        if incomplete || error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The request to the service: the client's headers without its body.
fn auth_request(
    settings: &ForwardAuth,
    origin: &Origin<'_>,
    head: &request::Parts,
) -> Request<Empty<Bytes>> {
    let mut request = Request::new(()).into_parts().0;
    request.headers = head.headers.clone();
    for name in ORIGINAL_REQUEST_HEADERS {
        strip(&mut request.headers, name);
    }
    to_upstream(&mut request, &Empty::<Bytes>::new(), origin);
    for name in NOT_FORWARDED {
        request.headers.remove(name);
    }
    // The host by which the route was found, even if a trusted proxy has named another one.
    request.headers.insert(X_FORWARDED_HOST, origin.host.clone());
    let mut insert = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            request.headers.insert(HeaderName::from_static(name), value);
        }
    };
    insert("x-forwarded-method", head.method.as_str());
    insert("x-forwarded-uri", head.uri.path_and_query().map_or("/", |target| target.as_str()));
    request.uri = service_uri(settings);
    Request::from_parts(request, Empty::new())
}

/// The service's address, whose parts were validated when the configuration was read.
fn service_uri(settings: &ForwardAuth) -> Uri {
    let host = &settings.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Uri::builder()
        .scheme("http")
        .authority(format!("{host}:{}", settings.port))
        .path_and_query(settings.path.as_str())
        .build()
        .unwrap_or_default()
}

/// The identity in the headers of a 2xx response.
fn identity(names: &[String], response: &HeaderMap) -> Identity {
    let names = names.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok());
    let headers = names.flat_map(|name| {
        response
            .get_all(&name)
            .iter()
            .map(move |value| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    });
    let cookies = response.get_all(SET_COOKIE).iter().cloned().collect();
    Identity { headers: headers.collect(), cookies }
}

/// The service's response as the client's.
fn relay(auth: &str, response: Response<Full<Bytes>>) -> Result<Identity, Rejection> {
    let (mut head, body) = response.into_parts();
    if let Err(malformed) = to_client(&mut head, &body, None) {
        tracing::warn!(
            auth,
            error = malformed.0,
            "request refused: malformed response of the authentication service"
        );
        let detail = "The authentication service sent a malformed response.";
        return Err(ProblemDetails::new(StatusCode::BAD_GATEWAY, detail).into());
    }
    let bytes = body.into_inner().unwrap_or_default();
    Err(Rejection::Response(Box::new(Response::from_parts(head, bytes))))
}

#[cfg(test)]
mod tests;
