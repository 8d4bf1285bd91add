//! A listener's door: which workload a request is for, and whether it may pass.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use drowse_core::Workload;
use drowse_routes::{Auth, Entry, NoRoute};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, SET_COOKIE},
    request,
};
use hyper::{body::Incoming, server::conn::http1, upgrade::OnUpgrade};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    access::{self, Identity, WakePolicy, client_address, strip_identity_headers},
    answer::{Format, Problem, Reads, is_repeatable, reads},
    body::{Answered, Upload},
    client::Client,
    forward::Forward,
    headers::{self, Origin, Refused},
    settings::{HttpLimits, ListenerSettings},
    waiting::{Visitor, endpoint},
    worker::Worker,
};

mod preamble;
mod welcome;

/// The methods that are answered, beside those that workloads have of their own.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

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
    /// With one that is complete: a waiting page, an answer in the workload's place, or what
    /// authentication has to say.
    Response(Box<Response<Bytes>>),
    /// Without: the client has gone.
    Gone,
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
        let repeatable = is_repeatable(&head.method, &head.headers);
        let reads = reads(head.headers.get(ACCEPT));
        let upload = Upload::new(body, &client);
        let mut cookies = Vec::new();
        let mut response = match self.answer(&client, head, upload, &mut cookies).await {
            Ok(response) => response,
            Err(Ended::Gone) => return Err(HungUp),
            Err(Ended::Response(response)) => response.map(|bytes| Answered::ours(bytes, &client)),
            Err(Ended::Problem(problem)) => {
                tracing::debug!(
                    listener = self.settings.name,
                    status = problem.status().as_u16(),
                    detail = problem.detail(),
                    "request refused"
                );
                let format = match reads {
                    Reads::Json => Format::Json,
                    Reads::Html => {
                        Format::Html { theme: self.worker.streams.room().theme(), repeatable }
                    }
                };
                let response = problem.response(format);
                response.map(|bytes| Answered::ours(bytes, &client))
            }
        };
        for cookie in cookies {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// `cookies` are the client's, whatever the answer is.
    async fn answer(
        self: &Rc<Self>,
        client: &Rc<Client>,
        mut head: request::Parts,
        mut upload: Upload,
        cookies: &mut Vec<HeaderValue>,
    ) -> Result<Response<Answered>, Ended> {
        let host = headers::host(&head)?;
        headers::check_framing(&head)?;
        if head.method == Method::TRACE {
            // The answer would show the client what is added to its request for the workload.
            let detail = "TRACE is not answered here.";
            return Err(Problem::only(METHODS, detail).into());
        }
        if endpoint::is_reserved(&self.worker.streams, head.uri.path()) {
            return Box::pin(self.follow(client, &host, &head)).await;
        }
        let entry = self.route(&host, &head)?;
        let (listener, workload) = (&self.settings.name, &entry.route.workload);
        let loops = &self.worker.loops;
        loops.check(&head.headers, listener, workload.as_str()).map_err(Ended::Problem)?;
        strip_identity_headers(&entry.route.identity_headers, &mut head.headers);
        upload.leave_out(&entry.route.identity_headers);
        let mut identity = match &entry.route.auth {
            Some(auth) => Box::pin(self.authenticate(client, auth, &host, &mut head)).await?,
            None => Identity::default(),
        };
        std::mem::swap(cookies, &mut identity.cookies);
        let address = || client_address(client.address, &self.settings.trust, &head.headers);
        let policy = WakePolicy::classify(&entry.route, &head, address);
        let mut deadline = None;
        let visit = match policy.enter(&entry.value) {
            Some(visit) => visit,
            None => {
                let visitor = Visitor {
                    room: self.worker.streams.room(),
                    access: &self.worker.access,
                    client,
                    listener,
                    held: &self.held,
                    entry: &entry,
                    policy: &policy,
                    host: &host,
                    method: &head.method,
                    headers: &head.headers,
                    deadline: *deadline.insert(Instant::now() + entry.route.hold_timeout),
                };
                Box::pin(visitor.admit()).await?
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
        let origin = Origin {
            forwarded_for: &client.forwarded_for,
            trusted: client.trusted,
            host: &host,
            via: &loops.pseudonym,
        };
        let protocols = headers::to_upstream(&mut head, &upload, &origin);
        identity.add_to(&mut head.headers);
        let upgrade = protocols.zip(ours);
        let (door, entry, host) = (self, &entry, &host);
        let forward = Forward { door, client, entry, host, policy, deadline, upgrade };
        forward.run(visit, head, upload).await
    }

    /// Authenticates a request, or ends it when its client disconnects.
    async fn authenticate(
        &self,
        client: &Rc<Client>,
        auth: &Auth,
        host: &HeaderValue,
        head: &mut request::Parts,
    ) -> Result<Identity, Ended> {
        let worker = &self.worker;
        let address = client_address(client.address, &self.settings.trust, &head.headers);
        let origin = Origin {
            forwarded_for: &client.forwarded_for,
            trusted: client.trusted,
            host,
            via: &worker.loops.pseudonym,
        };
        let authenticators = worker.access.authenticators();
        let forward_auth = &worker.forward_auth;
        tokio::select! {
            biased;
            result = access::authenticate(authenticators, forward_auth, auth, address, &origin, head) => result,
            () = client.socket.clone().gone() => Err(Ended::Gone),
        }
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
            let entry = self.worker.route(listener, host.to_str().ok()?, path).ok()?;
            Some(entry.value.clone())
        };
        let streams = &self.worker.streams;
        let address = client_address(client.address, &self.settings.trust, &head.headers);
        Ok(endpoint::answer(streams, client, address, listener, host, head, find).await?)
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
        self.worker.route(&self.settings.name, host, path).map_err(|why| {
            let problem = |detail| Problem::new(StatusCode::NOT_FOUND, detail);
            match (why, host) {
                (NoRoute::Similar { protected }, _) => problem(format!(
                    "This path differs from the protected path {protected} only in case, encoding \
                     or ending, so it is not served."
                ))
                .code("similar-path")
                .into(),
                (_, "") => {
                    problem("Nothing is served here for a request that names no host.".to_owned())
                        .into()
                }
                (_, host) => {
                    problem(format!("Nothing is served here for host {host} and this path.")).into()
                }
            }
        })
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
