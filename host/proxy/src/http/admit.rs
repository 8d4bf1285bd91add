//! Admission of HTTP requests: how a request waits at the gate, and the response if it is refused.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::{AdmitError, Cause, Trigger, Visit, Workload};
use drowse_routes::{Entry, Waiting, rules::LocalResponse};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER},
};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    connection::HttpConnection,
    negotiation::{can_show_page, is_navigation},
    rejection::{ProblemDetails, Rejection, waiting_page},
};
use crate::{
    access::{Denied, WakePolicy},
    admission::{Admission, Refusal, Visitor},
    progress::explain,
    waiting::PageLocation,
};

/// `Retry-After` when the failure has no retry time of its own.
const DEFAULT_RETRY: Duration = Duration::from_secs(5);
/// `Retry-After` in seconds of a local response to a crawler.
const CRAWLER_RETRY_AFTER: u64 = 600;

/// A request in front of its workload's gate.
pub(crate) struct Gate<'a> {
    pub(crate) admission: &'a Admission,
    pub(crate) connection: &'a Rc<HttpConnection>,
    /// The listener's limit of held visitors.
    pub(crate) held: &'a Arc<Semaphore>,
    pub(crate) entry: &'a Entry<Arc<Workload>>,
    pub(crate) policy: WakePolicy,
    /// The host that the client asked for.
    pub(crate) host: &'a HeaderValue,
    /// Time until which the request is held; set when it is held first.
    pub(crate) deadline: Option<Instant>,
}

// === impl Gate ===

impl Gate<'_> {
    /// Enters the gate if it is open.
    pub(crate) fn enter(&self) -> Option<Visit> {
        self.policy.enter(&self.entry.value)
    }

    /// Admits the request at a closed gate when it opens, or rejects it, as its route configures.
    pub(crate) async fn admit(
        &mut self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Visit, Rejection> {
        let hold_timeout = self.entry.route.hold_timeout;
        let waiting = match self.entry.route.waiting {
            Waiting::Auto if is_navigation(method, headers) => Waiting::Page,
            Waiting::Auto => Waiting::Hold,
            // A page cannot replace the response: a body or a protocol switch would be lost.
            Waiting::Page if !can_show_page(method, headers) => Waiting::Hold,
            configured => configured,
        };
        let host = self.host.to_str().unwrap_or_default();
        let visitor = Visitor {
            client: &self.connection.client,
            entry: self.entry,
            policy: &self.policy,
            held: self.held,
            waiting,
            deadline: *self.deadline.get_or_insert_with(|| Instant::now() + hold_timeout),
            cause: &|| Cause::new(Trigger::Request).with_reference(format!("{method} {host}")),
        };
        match self.admission.admit(&visitor).await {
            Ok(visit) => Ok(visit),
            Err(Refusal::NotReady) if waiting == Waiting::Page => Err(self.waiting_page().await),
            Err(refusal) => Err(self.rejection(refusal)),
        }
    }

    async fn waiting_page(&self) -> Rejection {
        let listener = &self.connection.settings.name;
        let location = PageLocation { listener, host: self.host, path: &self.entry.route.path };
        let room = self.admission.room();
        let (page, retry_after) = room.page(&self.entry.value, &location).await;
        Rejection::Response(Box::new(waiting_page(page, room.theme(), retry_after)))
    }

    fn rejection(&self, refusal: Refusal) -> Rejection {
        let workload = &self.entry.value;
        let name = workload.name();
        match refusal {
            Refusal::ClientGone => Rejection::ClientGone,
            Refusal::Denied(Denied::Locally(response)) => {
                Rejection::Response(Box::new(render_local(response)))
            }
            Refusal::Denied(Denied::Wake(denied)) => {
                let detail = format!("This {denied} may not wake {name}.");
                let problem =
                    ProblemDetails::new(StatusCode::FORBIDDEN, detail).code("may-not-wake");
                problem.of(name, workload.snapshot().phase).into()
            }
            Refusal::Denied(Denied::RateLimit(exceeded)) => {
                let detail = exceeded.explain(name);
                ProblemDetails::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .code("wake-limit")
                    .of(name, workload.snapshot().phase)
                    .retry_after(exceeded.retry_after)
                    .into()
            }
            Refusal::QueueFull => {
                let detail =
                    format!("{name} is not ready yet, and the queue of waiting visitors is full.");
                self.unavailable("queue-full", detail, DEFAULT_RETRY)
            }
            Refusal::NotReady => {
                let snapshot = workload.snapshot();
                let (code, detail) = match &snapshot.failure {
                    Some(failure) => {
                        ("wake-failed", format!("{name} could not be woken. {}", explain(failure)))
                    }
                    None => {
                        ("not-ready", format!("{name} is {} and not ready yet.", snapshot.phase))
                    }
                };
                self.unavailable(code, detail, snapshot.retry_in().unwrap_or(DEFAULT_RETRY))
            }
            Refusal::Turned(AdmitError::Failed(failure, retry)) => {
                let detail = format!("{name} could not be woken. {}", explain(&failure));
                self.unavailable("wake-failed", detail, retry.unwrap_or(DEFAULT_RETRY))
            }
            Refusal::Turned(AdmitError::NotWaking(phase)) => {
                let detail = format!("{name} is {phase} and is not being woken.");
                self.unavailable("not-ready", detail, DEFAULT_RETRY)
            }
            Refusal::Turned(AdmitError::TimedOut(phase)) => {
                let limit = self.entry.route.hold_timeout;
                let detail = format!("{name} is still {phase} after {limit:?}.");
                ProblemDetails::new(StatusCode::GATEWAY_TIMEOUT, detail)
                    .code("hold-timeout")
                    .retry_after(DEFAULT_RETRY)
                    .during(workload)
                    .into()
            }
        }
    }

    fn unavailable(&self, code: &'static str, detail: String, retry: Duration) -> Rejection {
        ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .code(code)
            .during(&self.entry.value)
            .retry_after(retry)
            .into()
    }
}

/// The response in the place of a workload that is not awake.
fn render_local(local: LocalResponse) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(local.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if local.retry_later {
        response.headers_mut().insert(RETRY_AFTER, CRAWLER_RETRY_AFTER.into());
    }
    response
}
