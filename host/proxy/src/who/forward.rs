//! Authentication by somebody else: each request's method, address and headers are shown to an
//! HTTP service that says yes (2xx), or what the client gets instead.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use drowse_routes::ForwardAuth;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
    request,
};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{Vouched, strip, strip_all};
use crate::{
    answer::Problem,
    door::Ended,
    headers::{Origin, to_client, to_upstream},
};

/// Bytes of an answer that is passed on: a page to log in with.
const LARGEST: usize = 1 << 20;
/// Connections that wait for the next request, for each service and thread.
const IDLE: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(20);

/// What says something of our own body, of its freshness or of the connection, and nothing of the
/// request that is asked about.
const NOT_TOLD: &[HeaderName] = &[
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
/// Other names under which services are told what is asked for. From a client they are lies.
const OTHER_NAMES: &[&str] = &[
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-http-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Asks services; one for each thread, whose connections it keeps.
pub(crate) struct Asker {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Why a service gave no answer.
enum Silence {
    Overdue,
    Failed(String),
}

// === impl Asker ===

impl Asker {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE)
            .build(connector);
        Self { client }
    }

    /// Lets the request pass with what the service says of it, or ends it with the service's own
    /// answer.
    pub(super) async fn authenticate(
        &self,
        auth: &str,
        settings: &ForwardAuth,
        origin: &Origin<'_>,
        head: &mut request::Parts,
    ) -> Result<Vouched, Ended> {
        strip_all(&settings.headers, &mut head.headers);
        let question = question(settings, origin, head);
        let why = match self.ask(settings, question).await {
            Ok(answer) if answer.status().is_success() => {
                return Ok(vouched(&settings.headers, answer.headers()));
            }
            Ok(answer) => return relayed(auth, answer),
            Err(why) => why,
        };
        let (status, error) = match why {
            Silence::Overdue => {
                let limit = settings.timeout;
                (StatusCode::GATEWAY_TIMEOUT, format!("no answer within {limit:?}"))
            }
            Silence::Failed(error) => (StatusCode::BAD_GATEWAY, error),
        };
        let service = format_args!("{}:{}", settings.host, settings.port);
        tracing::warn!(auth, %service, error, "nobody is let in: authentication failed to answer");
        let detail = "The service that decides who may come in does not answer.";
        Err(Problem::new(status, detail).into())
    }

    async fn ask(
        &self,
        settings: &ForwardAuth,
        question: Request<Empty<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Silence> {
        let asked = async {
            let answer = self.client.request(question).await.map_err(|error| reason(&error))?;
            let (head, body) = answer.into_parts();
            match Limited::new(body, LARGEST).collect().await {
                Ok(body) => Ok(Response::from_parts(head, Full::new(body.to_bytes()))),
                // What it has to say about a request that may pass is in the head.
                Err(_) if head.status.is_success() => {
                    Ok(Response::from_parts(head, Full::default()))
                }
                Err(error) => Err(error.to_string()),
            }
        };
        match timeout(settings.timeout, asked).await {
            Ok(answer) => answer.map_err(Silence::Failed),
            Err(_) => Err(Silence::Overdue),
        }
    }
}

/// The request without its body, as the service is told of it.
fn question(
    settings: &ForwardAuth,
    origin: &Origin<'_>,
    head: &request::Parts,
) -> Request<Empty<Bytes>> {
    let mut question = Request::new(()).into_parts().0;
    question.headers = head.headers.clone();
    for name in OTHER_NAMES {
        strip(&mut question.headers, name);
    }
    to_upstream(&mut question, &Empty::<Bytes>::new(), origin);
    for name in NOT_TOLD {
        question.headers.remove(name);
    }
    let mut tell = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            question.headers.insert(HeaderName::from_static(name), value);
        }
    };
    tell("x-forwarded-method", head.method.as_str());
    tell("x-forwarded-uri", head.uri.path_and_query().map_or("/", |asked| asked.as_str()));
    question.uri = address(settings);
    Request::from_parts(question, Empty::new())
}

/// Where to ask. The settings were checked when they were read.
fn address(settings: &ForwardAuth) -> Uri {
    let host = &settings.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Uri::builder()
        .scheme("http")
        .authority(format!("{host}:{}", settings.port))
        .path_and_query(settings.path.as_str())
        .build()
        .unwrap_or_default()
}

/// What the service says of the request, for the workload.
fn vouched(names: &[String], answer: &HeaderMap) -> Vouched {
    let named = names.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok());
    let values = named.flat_map(|name| {
        answer
            .get_all(&name)
            .iter()
            .map(move |value| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    });
    Vouched(values.collect())
}

/// The service's answer as the client's.
fn relayed(auth: &str, answer: Response<Full<Bytes>>) -> Result<Vouched, Ended> {
    let (mut head, body) = answer.into_parts();
    if let Err(malformed) = to_client(&mut head, &body, None) {
        tracing::warn!(
            auth,
            error = malformed.0,
            "nobody is let in: authentication gave a strange answer"
        );
        let detail = "The service that decides who may come in does not make sense.";
        return Err(Problem::new(StatusCode::BAD_GATEWAY, detail).into());
    }
    let bytes = body.into_inner().unwrap_or_default();
    Err(Ended::Page(Box::new(Response::from_parts(head, bytes))))
}

/// The error with its causes.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
