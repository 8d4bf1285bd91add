//! Authentication by somebody else: each request's method, address and headers are shown to an
//! HTTP service that says yes (2xx), or what the client gets instead.

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

use super::{Vouched, strip, strip_claims};
use crate::{
    answer::Problem,
    door::Ended,
    headers::{Origin, X_FORWARDED_HOST, to_client, to_upstream},
    words::Chain,
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
    /// With what it was, and whether the connection ended before an answer began.
    Failed {
        error: String,
        broke_off: bool,
    },
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
        client: IpAddr,
        origin: &Origin<'_>,
        head: &mut request::Parts,
    ) -> Result<Vouched, Ended> {
        strip_claims(&settings.headers, &mut head.headers);
        let question = question(settings, origin, head);
        let why = match self.answer(settings, question).await {
            Ok(answer) if answer.status().is_success() => {
                for name in &settings.headers {
                    strip(&mut head.headers, name);
                }
                return Ok(vouched(&settings.headers, answer.headers()));
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                // Whoever is only sent to the login page has not failed at anything.
                if answer.status().is_redirection() {
                    tracing::debug!(auth, %client, status, "sent away to authenticate");
                } else {
                    tracing::info!(auth, %client, status, "authentication refused by the service");
                }
                return relayed(auth, answer);
            }
            Err(why) => why,
        };
        let (status, error) = match why {
            Silence::Overdue => {
                let limit = settings.timeout;
                (StatusCode::GATEWAY_TIMEOUT, format!("no answer within {limit:?}"))
            }
            Silence::Failed { error, .. } => (StatusCode::BAD_GATEWAY, error),
        };
        let service = format_args!("{}:{}", settings.host, settings.port);
        tracing::warn!(auth, %service, error, "nobody is let in: authentication failed to answer");
        let detail = "The service that decides who may come in does not answer.";
        Err(Problem::new(status, detail).into())
    }

    /// What the service says, in time. It is asked once more when it has closed the connection
    /// under the question: an idle one may have been dead already.
    async fn answer(
        &self,
        settings: &ForwardAuth,
        question: Request<Empty<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Silence> {
        let asked = async {
            match self.ask(question.clone()).await {
                Err(Silence::Failed { broke_off: true, .. }) => self.ask(question).await,
                answered => answered,
            }
        };
        timeout(settings.timeout, asked).await.unwrap_or(Err(Silence::Overdue))
    }

    async fn ask(&self, question: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Silence> {
        let failed = |error: hyper_util::client::legacy::Error| Silence::Failed {
            error: Chain(&error).to_string(),
            broke_off: !error.is_connect() && broke_off(&error),
        };
        let (head, body) = self.client.request(question).await.map_err(failed)?.into_parts();
        match Limited::new(body, LARGEST).collect().await {
            Ok(body) => Ok(Response::from_parts(head, Full::new(body.to_bytes()))),
            // What it has to say about a request that may pass is in the head.
            Err(_) if head.status.is_success() => Ok(Response::from_parts(head, Full::default())),
            Err(error) => Err(Silence::Failed { error: error.to_string(), broke_off: false }),
        }
    }
}

/// The connection ended before the answer began.
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
    // The one by which the route was found, whoever else has named one on the way.
    question.headers.insert(X_FORWARDED_HOST, origin.host.clone());
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

/// What the service says of a request that passes.
fn vouched(names: &[String], answer: &HeaderMap) -> Vouched {
    let named = names.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok());
    let values = named.flat_map(|name| {
        answer
            .get_all(&name)
            .iter()
            .map(move |value| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    });
    let cookies = answer.get_all(SET_COOKIE).iter().cloned().collect();
    Vouched { headers: values.collect(), cookies }
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
    Err(Ended::Response(Box::new(Response::from_parts(head, bytes))))
}

#[cfg(test)]
mod tests;
