//! A listener's door: which workload a request is for, and whether it may pass.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::{Turned, Visit, Workload};
use drowse_routes::{Entry, Waiting};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::ACCEPT, request,
};
use hyper::{body::Incoming, server::conn::http1, upgrade::OnUpgrade};
use tokio::time::Instant;

use crate::{
    answer::{Problem, is_navigation, reads, waiting_page},
    body::{Answered, Upload},
    client::Client,
    forward::Forward,
    headers::{self, Origin, Refused},
    page::explain,
    settings::{HttpLimits, ListenerSettings},
    worker::Worker,
};

/// When a failure says nothing of it, trying again is worth it after so long.
const RETRY: Duration = Duration::from_secs(5);

/// One listener on one thread.
pub(crate) struct Door {
    pub(crate) settings: ListenerSettings,
    pub(crate) limits: HttpLimits,
    pub(crate) http: http1::Builder,
    pub(crate) worker: Rc<Worker>,
}

/// A request that ends here.
pub(crate) enum Ended {
    /// With an answer of ours.
    Problem(Box<Problem>),
    /// With the page of a workload that is not ready.
    Page(Box<Response<Bytes>>),
    /// Without: the client has gone.
    Gone,
}

/// The client has gone; hyper closes the connection when it is told.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct HungUp;

// === impl Door ===

impl Door {
    pub(crate) fn new(settings: ListenerSettings, worker: &Rc<Worker>) -> Rc<Self> {
        let limits = settings.limits.clone();
        let mut http = http1::Builder::new();
        http.max_header_size(limits.head_bytes)
            .max_buf_size(limits.head_bytes.max(64 << 10))
            // The worker's sweep looks after slow and idle clients.
            .header_read_timeout(None);
        Rc::new(Self { settings, limits, http, worker: worker.clone() })
    }

    /// Serves one request.
    pub(crate) async fn serve(
        self: Rc<Self>,
        client: Rc<Client>,
        request: Request<Incoming>,
    ) -> Result<Response<Answered>, HungUp> {
        client.request_begins();
        let (head, body) = request.into_parts();
        let accept = head.headers.get(ACCEPT).cloned();
        let upload = Upload::new(body, &client);
        let response = match self.answer(&client, head, upload).await {
            Ok(response) => return Ok(response),
            Err(Ended::Gone) => return Err(HungUp),
            Err(Ended::Page(page)) => *page,
            Err(Ended::Problem(problem)) => {
                tracing::debug!(
                    listener = self.settings.name,
                    status = problem.status().as_u16(),
                    detail = problem.detail(),
                    "request refused"
                );
                problem.response(reads(accept.as_ref()))
            }
        };
        Ok(response.map(|bytes| Answered::ours(bytes, &client)))
    }

    async fn answer(
        self: &Rc<Self>,
        client: &Rc<Client>,
        mut head: request::Parts,
        upload: Upload,
    ) -> Result<Response<Answered>, Ended> {
        let host = headers::host(&head)?;
        headers::check_framing(&head)?;
        let entry = self.route(&host, &head)?;
        let visit = match entry.value.enter() {
            Some(visit) => visit,
            None => Box::pin(let_in(client, &entry, &head.method, &head.headers)).await?,
        };
        tracing::debug!(
            listener = self.settings.name,
            workload = %entry.route.workload,
            method = %head.method,
            path = head.uri.path(),
            "request"
        );
        let ours = head.extensions.remove::<OnUpgrade>();
        let origin =
            Origin { forwarded_for: &client.forwarded_for, trusted: client.trusted, host: &host };
        let asked = headers::to_upstream(&mut head, &upload, &origin);
        let forward = Forward { door: self, client, entry: &entry, upgrade: asked.zip(ours) };
        forward.run(visit, head, upload).await
    }

    fn route(
        &self,
        host: &HeaderValue,
        head: &request::Parts,
    ) -> Result<Arc<Entry<Arc<Workload>>>, Ended> {
        let host = host.to_str().unwrap_or_default();
        let path = match head.uri.path() {
            "*" => "/",
            path => path,
        };
        self.worker.route(&self.settings.name, host, path).ok_or_else(|| {
            let detail = match host {
                "" => "Nothing is served here for a request that names no host.".to_owned(),
                host => format!("Nothing is served here for host {host} and this path."),
            };
            Problem::new(StatusCode::NOT_FOUND, detail).into()
        })
    }
}

/// Lets a visitor in at a gate that was closed, or does with it what its route says. Whatever
/// that is, the workload is woken.
pub(crate) async fn let_in(
    client: &Client,
    entry: &Entry<Arc<Workload>>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Visit, Ended> {
    let workload = &entry.value;
    let waiting = match entry.route.waiting {
        Waiting::Auto if is_navigation(method, headers) => Waiting::Page,
        Waiting::Auto => Waiting::Hold,
        said => said,
    };
    if waiting == Waiting::Hold {
        return hold(client, entry).await;
    }
    workload.wake();
    if let Some(visit) = workload.enter() {
        return Ok(visit);
    }
    let snapshot = workload.snapshot();
    if waiting == Waiting::Page {
        return Err(Ended::Page(Box::new(waiting_page(workload.name(), &snapshot))));
    }
    let name = workload.name();
    let detail = match &snapshot.failure {
        Some(failure) => format!("{name} could not be woken. {}", explain(failure)),
        None => format!("{name} is {} and not ready yet.", snapshot.phase),
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .of(name, snapshot.phase)
        .retry_after(snapshot.retry_in().unwrap_or(RETRY));
    Err(problem.into())
}

/// Waits with the visitor, body unread, until it is let in, turned away or gone.
async fn hold(client: &Client, entry: &Entry<Arc<Workload>>) -> Result<Visit, Ended> {
    let (workload, patience) = (&entry.value, entry.route.patience);
    tracing::debug!(workload = %workload.name(), "visitor held");
    let turned = tokio::select! {
        biased;
        admitted = workload.admit(Instant::now() + patience) => match admitted {
            Ok(visit) => return Ok(visit),
            Err(turned) => turned,
        },
        () = client.socket.clone().gone() => {
            tracing::debug!(workload = %workload.name(), "held visitor has gone");
            return Err(Ended::Gone);
        }
    };
    let name = workload.name();
    let problem = match turned {
        Turned::Failed(failure, retry) => {
            let detail = format!("{name} could not be woken. {}", explain(&failure));
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .of(name, workload.snapshot().phase)
                .retry_after(retry.unwrap_or(RETRY))
        }
        Turned::TimedOut(phase) => {
            let detail = format!("{name} is still {phase} after {patience:?}.");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).of(name, phase)
        }
    };
    Err(problem.into())
}

// === impl Ended ===

impl From<Problem> for Ended {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Self {
        Problem::new(refused.status, refused.reason).into()
    }
}
