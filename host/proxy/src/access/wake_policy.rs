//! The wake policy: what a request may do at its workload's gate.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use drowse_core::{Cause, Visit, Workload};
use drowse_routes::{
    Entry, Route,
    rules::{LocalResponse, RequestAttributes, WakeDenied},
};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, USER_AGENT},
    request,
};

use super::rate_limit::WakeRateLimiter;
use crate::{answer::Problem, door::Ended};

/// `Retry-After` in seconds of a local response to a crawler.
const CRAWLER_RETRY_AFTER: u64 = 600;

/// A request's classification before the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WakePolicy {
    /// The request may wake the workload.
    MayWake {
        /// The client to charge, where a rate limit counts wakes.
        charged: Option<IpAddr>,
    },
    /// At a closed gate the router responds in the workload's place and wakes nothing.
    LocalResponse(LocalResponse),
    /// The request may enter an open gate and may not wake.
    WakeDenied(WakeDenied),
}

/// What a request may do at a closed gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedGateAction {
    /// Wake the workload.
    Wake,
    /// Wait for a wake that another request began.
    Join,
}

// === impl WakePolicy ===

impl WakePolicy {
    /// Classifies a request as its client sent it. `client` is called only where a rule looks at
    /// the client's address.
    pub(crate) fn classify(
        route: &Route,
        head: &request::Parts,
        client: impl Fn() -> IpAddr,
    ) -> Self {
        let rules = &route.wake;
        let path = match head.uri.path() {
            "*" => "/",
            path => path,
        };
        if rules.may_respond_locally(path) || !rules.allows_everyone() {
            let request = RequestAttributes {
                method: head.method.as_str(),
                path,
                user_agent: head.headers.get(USER_AGENT).map_or(&[], HeaderValue::as_bytes),
                is_navigation: is_declared_navigation(&head.headers),
            };
            if let Some(response) = rules.local_response(&request) {
                return Self::LocalResponse(response);
            }
            if let Some(denied) = rules.deny_wake(&request, client()) {
                return Self::WakeDenied(denied);
            }
        }
        Self::MayWake { charged: (!rules.limits.is_none()).then(client) }
    }

    /// Enters the gate if it is open.
    pub(crate) fn enter(&self, workload: &Arc<Workload>) -> Option<Visit> {
        match self {
            Self::LocalResponse(LocalResponse { counts_as_visit: false, .. }) => workload.pass(),
            _ => workload.enter(),
        }
    }

    /// Decides at a closed gate. Where a rate limit counts wakes, this also wakes the workload,
    /// with this cause. The error is the response for the client.
    pub(crate) fn at_closed_gate(
        &self,
        rate_limiter: &WakeRateLimiter,
        entry: &Entry<Arc<Workload>>,
        cause: impl FnOnce() -> Cause,
    ) -> Result<ClosedGateAction, Ended> {
        let workload = &entry.value;
        let name = workload.name();
        match self {
            Self::LocalResponse(response) => Err(Ended::Response(Box::new(render(response)))),
            Self::WakeDenied(_) if workload.snapshot().is_coming() => Ok(ClosedGateAction::Join),
            Self::WakeDenied(denied) => {
                let detail = format!("This {denied} may not wake {name}.");
                let problem = Problem::new(StatusCode::FORBIDDEN, detail).code("may-not-wake");
                Err(problem.of(name, workload.snapshot().phase).into())
            }
            Self::MayWake { charged: None } => Ok(ClosedGateAction::Wake),
            Self::MayWake { charged: Some(client) } => {
                let limits = &entry.route.wake.limits;
                match rate_limiter.wake(workload, limits, *client, cause) {
                    Ok(()) => Ok(ClosedGateAction::Join),
                    Err(exceeded) => {
                        let detail = exceeded.explain(name);
                        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                            .code("wake-limit")
                            .of(name, workload.snapshot().phase)
                            .retry_after(exceeded.retry_after)
                            .into())
                    }
                }
            }
        }
    }
}

/// The browser declares that a person navigates to this address. Browsers without
/// `Sec-Fetch-Mode` are not recognised: they request icons on their own like the others.
fn is_declared_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

fn render(local: &LocalResponse) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(local.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if local.retry_later {
        response.headers_mut().insert(RETRY_AFTER, CRAWLER_RETRY_AFTER.into());
    }
    response
}
