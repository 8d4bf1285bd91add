//! A listener's door: which workload a request is for, and whether it may pass.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::{Cause, Source, Turned, Visit, Workload};
use drowse_routes::{Entry, Waiting};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::ACCEPT, request,
};
use hyper::{body::Incoming, server::conn::http1, upgrade::OnUpgrade};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    answer::{Problem, can_be_shown, is_navigation, reads, waiting_page},
    body::{Answered, Upload},
    client::Client,
    forward::Forward,
    headers::{self, Origin, Refused},
    settings::{HttpLimits, ListenerSettings},
    waiting::{explain, live},
    who::{self, Knock, Vouched},
    worker::Worker,
};

/// When a failure says nothing of it, trying again is worth it after so long.
const RETRY: Duration = Duration::from_secs(5);

/// One listener on one thread.
pub(crate) struct Door {
    pub(crate) settings: ListenerSettings,
    pub(crate) limits: HttpLimits,
    pub(crate) http: http1::Builder,
    /// Visitors that the listener may still hold.
    pub(crate) held: Arc<Semaphore>,
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

/// What stands in front of a closed gate.
pub(crate) struct Asking<'a> {
    pub(crate) host: &'a HeaderValue,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// The client has gone; hyper closes the connection when it is told.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct HungUp;

// === impl Door ===

impl Door {
    pub(crate) fn new(
        settings: ListenerSettings,
        held: Arc<Semaphore>,
        worker: &Rc<Worker>,
    ) -> Rc<Self> {
        let limits = settings.limits.clone();
        let mut http = http1::Builder::new();
        http.max_header_size(limits.head_bytes)
            .max_buf_size(limits.head_bytes.max(64 << 10))
            // The worker's sweep looks after slow and idle clients.
            .header_read_timeout(None);
        Rc::new(Self { settings, limits, http, held, worker: worker.clone() })
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
        if live::is_reserved(&self.worker.feeds, head.uri.path()) {
            return Box::pin(self.follow(client, &host, &head)).await;
        }
        let entry = self.route(&host, &head)?;
        who::strip_all(&entry.route.vouched, &mut head.headers);
        let vouched = match &entry.route.auth {
            Some(auth) => Box::pin(who::authenticate(self, client, auth, &host, &mut head)).await?,
            None => Vouched::default(),
        };
        let knock = Knock::new(self, client, &entry.route, &head);
        let visit = match knock.enter(&entry.value) {
            Some(visit) => visit,
            None => {
                knock.ask(&self.worker.who, &entry)?;
                let asking = Asking { host: &host, method: &head.method, headers: &head.headers };
                Box::pin(let_in(self, client, &entry, &asking)).await?
            }
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
        vouched.tell(&mut head.headers);
        let upgrade = asked.zip(ours);
        let forward = Forward { door: self, client, entry: &entry, host: &host, knock, upgrade };
        forward.run(visit, head, upload).await
    }

    /// A page asks how far the wake has come.
    async fn follow(
        &self,
        client: &Rc<Client>,
        host: &HeaderValue,
        head: &request::Parts,
    ) -> Result<Response<Answered>, Ended> {
        let listener = &self.settings.name;
        let find = |path: &str| {
            let entry = self.worker.route(listener, host.to_str().ok()?, path)?;
            Some(entry.value.clone())
        };
        let answered = live::answer(&self.worker.feeds, client, listener, host, head, find);
        Ok(answered.await?)
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
    door: &Door,
    client: &Client,
    entry: &Entry<Arc<Workload>>,
    asking: &Asking<'_>,
) -> Result<Visit, Ended> {
    let Asking { host, method, headers } = *asking;
    let workload = &entry.value;
    let waiting = match entry.route.waiting {
        Waiting::Auto if is_navigation(method, headers) => Waiting::Page,
        Waiting::Auto => Waiting::Hold,
        // What a page cannot stand for, because a body or a switch of protocols would be lost.
        Waiting::Page if !can_be_shown(method, headers) => Waiting::Hold,
        said => said,
    };
    if waiting == Waiting::Hold {
        return hold(door, client, entry, asking.cause()).await;
    }
    workload.wake(asking.cause());
    if let Some(visit) = workload.enter() {
        return Ok(visit);
    }
    if waiting == Waiting::Page {
        let spot = live::Spot { listener: &door.settings.name, host, path: &entry.route.path };
        let lobby = door.worker.feeds.lobby();
        let (page, reload) = lobby.page(workload, &spot).await;
        let page = waiting_page(page, lobby.theme().policy().clone(), reload);
        return Err(Ended::Page(Box::new(page)));
    }
    let (name, snapshot) = (workload.name(), workload.snapshot());
    let (code, detail) = match &snapshot.failure {
        Some(failure) => {
            ("wake-failed", format!("{name} could not be woken. {}", explain(failure)))
        }
        None => ("not-ready", format!("{name} is {} and not ready yet.", snapshot.phase)),
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .code(code)
        .during(name, &snapshot)
        .retry_after(snapshot.retry_in().unwrap_or(RETRY));
    Err(problem.into())
}

/// Waits with the visitor, body unread, until it is let in, turned away or gone.
async fn hold(
    door: &Door,
    client: &Client,
    entry: &Entry<Arc<Workload>>,
    cause: Cause,
) -> Result<Visit, Ended> {
    let (workload, patience) = (&entry.value, entry.route.patience);
    let name = workload.name();
    let Some(_place) = door.worker.feeds.lobby().hold(&door.held) else {
        workload.wake(cause);
        tracing::debug!(workload = %name, "the queue of waiting visitors is full");
        let detail = format!("{name} is not ready yet, and the queue of waiting visitors is full.");
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .code("queue-full")
            .during(name, &workload.snapshot())
            .retry_after(RETRY);
        return Err(problem.into());
    };
    tracing::debug!(workload = %name, "visitor held");
    let turned = tokio::select! {
        biased;
        admitted = workload.admit(Instant::now() + patience, cause) => match admitted {
            Ok(visit) => return Ok(visit),
            Err(turned) => turned,
        },
        () = client.socket.clone().gone() => {
            tracing::debug!(workload = %name, "held visitor has gone");
            return Err(Ended::Gone);
        }
    };
    let problem = match turned {
        Turned::Failed(failure, retry) => {
            let detail = format!("{name} could not be woken. {}", explain(&failure));
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .code("wake-failed")
                .retry_after(retry.unwrap_or(RETRY))
        }
        Turned::TimedOut(phase) => {
            let detail = format!("{name} is still {phase} after {patience:?}.");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
                .code("patience-over")
                .retry_after(RETRY)
        }
    };
    Err(problem.during(name, &workload.snapshot()).into())
}

// === impl Asking ===

impl Asking<'_> {
    /// For the operator: who wanted it awake.
    fn cause(&self) -> Cause {
        let host = self.host.to_str().unwrap_or_default();
        Cause::new(Source::Request).because_of(format!("{} {host}", self.method))
    }
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
