//! The HTTP service of one listener on one thread: its connections, and the steps of each request.

use std::{future::poll_fn, mem, rc::Rc, sync::Arc, task::Poll};

use drowse_core::Workload;
use drowse_routes::{Auth, Entry, NoRoute, rules::RequestAttributes};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{SET_COOKIE, USER_AGENT},
    request,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::{
    admit::Gate,
    connection::HttpConnection,
    forward::{Forward, ForwardError},
    headers::{self, Origin},
    negotiation::{Negotiated, is_declared_navigation},
    rejection::{ProblemDetails, Rejection},
    request_body::RequestBody,
    response_body::ResponseBody,
    shared::HttpShared,
};
use crate::{
    access::{self, Identity, WakePolicy, client_address, strip_identity_headers},
    client::{ClientConnection, socket::ClientIo},
    settings::ListenerSettings,
    waiting::endpoint,
    worker::LAST_REQUEST,
};

/// The value of `Allow` where a method is refused. Workloads may support others as well.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Minimum bytes of the buffer of a client connection.
const MIN_BUFFER: usize = 64 << 10;

/// The HTTP service of one listener on one thread.
pub(crate) struct HttpService {
    settings: Rc<ListenerSettings>,
    http: http1::Builder,
    /// One permit for each visitor that the listener may hold, over all threads.
    held: Arc<Semaphore>,
    shared: Rc<HttpShared>,
}

/// The client has disconnected: hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the client has disconnected")]
pub(crate) struct ClientDisconnected;

// === impl HttpService ===

impl HttpService {
    pub(crate) fn new(
        settings: Rc<ListenerSettings>,
        held: Arc<Semaphore>,
        shared: Rc<HttpShared>,
    ) -> Rc<Self> {
        let head_bytes = settings.limits.head_bytes;
        let mut http = http1::Builder::new();
        http.max_header_size(head_bytes)
            .max_buf_size(head_bytes.max(MIN_BUFFER))
            // The thread's sweep closes slow connections.
            .header_read_timeout(None);
        Rc::new(Self { settings, http, held, shared })
    }

    /// Serves a connection by a task of its own.
    pub(crate) fn serve_connection(self: &Rc<Self>, client: ClientConnection) {
        let worker = &self.shared.worker;
        let connection = HttpConnection::new(client, self.settings.clone(), &worker.clock);
        worker.spawn_connection(connection.clone(), self.clone().run_connection(connection));
    }

    /// Serves the requests of one connection until it ends. At shutdown a request that has begun
    /// to arrive is still served.
    async fn run_connection(self: Rc<Self>, connection: Rc<HttpConnection>) {
        let socket = &connection.client.socket;
        let service = service_fn(|request| self.clone().serve(connection.clone(), request));
        let io = TokioIo::new(ClientIo(socket.clone()));
        let driver = self.http.serve_connection(io, service).with_upgrades();
        tokio::pin!(driver);
        let ended = tokio::select! {
            ended = driver.as_mut() => Some(ended),
            () = self.shared.worker.stop.cancelled() => None,
        };
        let stopped = ended.is_none();
        let ended = match ended {
            // Closing now would lose the request that the client is sending: it is served.
            None if connection.is_sending_request() => {
                let before = connection.requests.get();
                let one_more = poll_fn(|cx| match driver.as_mut().poll(cx) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending if connection.requests.get() > before => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                tokio::time::timeout(LAST_REQUEST, one_more).await.unwrap_or(None)
            }
            ended => ended,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                driver.as_mut().graceful_shutdown();
                driver.await
            }
        };
        let early = stopped || ended.is_err();
        let malformed = ended.as_ref().is_err_and(hyper::Error::is_parse);
        if let Err(error) = &ended {
            tracing::debug!(listener = self.settings.name, %error, "client connection ended");
        }
        // Closing a connection with unread bytes resets it, and the client may lose the response.
        if malformed || connection.body_unread.get() || (early && socket.has_unread()) {
            socket.linger().await;
        }
    }

    /// Serves one request.
    async fn serve(
        self: Rc<Self>,
        connection: Rc<HttpConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, ClientDisconnected> {
        connection.begin_request();
        let (head, body) = request.into_parts();
        let negotiated = Negotiated::new(&head);
        let body = RequestBody::new(body, &connection);
        let mut cookies = Vec::new();
        let response = self.respond(&connection, head, body, &mut cookies).await;
        let mut response = match response {
            Ok(response) => response,
            Err(rejection) => self.render(rejection, negotiated, &connection)?,
        };
        for cookie in cookies {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    fn render(
        &self,
        rejection: Rejection,
        negotiated: Negotiated,
        connection: &Rc<HttpConnection>,
    ) -> Result<Response<ResponseBody>, ClientDisconnected> {
        if let Rejection::Problem(problem) = &rejection {
            tracing::debug!(
                listener = self.settings.name,
                status = problem.status().as_u16(),
                detail = problem.detail(),
                "request rejected"
            );
        }
        let response = rejection.render(negotiated, self.shared.admission.room().theme());
        let response = response.ok_or(ClientDisconnected)?;
        Ok(response.map(|bytes| ResponseBody::bytes(bytes, connection)))
    }

    /// The response to a request. `cookies` are set for the client with every kind of response.
    async fn respond(
        &self,
        connection: &Rc<HttpConnection>,
        mut head: request::Parts,
        mut body: RequestBody,
        cookies: &mut Vec<HeaderValue>,
    ) -> Result<Response<ResponseBody>, Rejection> {
        let host = headers::host(&head)?;
        headers::check_framing(&head)?;
        if head.method == Method::TRACE {
            // The response would reveal the headers that are added for the workload.
            let detail = "TRACE is not answered here.";
            return Err(ProblemDetails::only(METHODS, detail).into());
        }
        let HttpShared { worker, pool, admission, streams, loops, .. } = &*self.shared;
        if endpoint::is_reserved(streams, head.uri.path()) {
            return Box::pin(self.answer_waiting_page(connection, &host, &head)).await;
        }
        let entry = self.route(&host, &head)?;
        let (listener, route) = (&self.settings.name, &entry.route);
        loops
            .check(&head.headers, listener, route.workload.as_str())
            .map_err(ProblemDetails::from)?;
        strip_identity_headers(&route.identity_headers, &mut head.headers);
        body.strip_trailers(&route.identity_headers);
        let mut identity = match &route.auth {
            Some(auth) => Box::pin(self.authenticate(connection, auth, &host, &mut head)).await?,
            None => Identity::default(),
        };
        mem::swap(cookies, &mut identity.cookies);
        let address = || client_address(connection.address(), &self.settings.trust, &head.headers);
        let mut gate = Gate {
            admission,
            connection,
            held: &self.held,
            entry: &entry,
            policy: WakePolicy::classify(route, path(&head), || attributes(&head), address),
            host: &host,
            deadline: None,
        };
        let mut visit = match gate.enter() {
            Some(visit) => visit,
            None => Box::pin(gate.admit(&head.method, &head.headers)).await?,
        };
        tracing::debug!(
            listener,
            workload = %route.workload,
            method = %head.method,
            path = head.uri.path(),
            "request"
        );
        let client_upgrade = head.extensions.remove::<OnUpgrade>();
        let origin = self.origin(connection, &host);
        let protocols = headers::to_upstream(&mut head, &body, &origin);
        identity.add_to(&mut head.headers);
        let upgrade = protocols.zip(client_upgrade);
        let mut message = Request::from_parts(head, body);
        let mut forward = Forward::new(worker, pool, connection, &entry, upgrade, &message);
        loop {
            message = match forward.send(visit, message).await {
                Ok(response) => return Ok(response),
                Err(ForwardError::Rejected(rejection)) => return Err(rejection),
                Err(ForwardError::Unreachable(message)) => *message,
            };
            visit = match gate.enter() {
                Some(visit) => visit,
                None => Box::pin(gate.admit(message.method(), message.headers())).await?,
            };
        }
    }

    /// Authenticates a request, or ends it when its client disconnects.
    async fn authenticate(
        &self,
        connection: &Rc<HttpConnection>,
        auth: &Auth,
        host: &HeaderValue,
        head: &mut request::Parts,
    ) -> Result<Identity, Rejection> {
        let HttpShared { admission, forward_auth, .. } = &*self.shared;
        let address = client_address(connection.address(), &self.settings.trust, &head.headers);
        let origin = self.origin(connection, host);
        let authenticators = admission.access().authenticators();
        let authenticated =
            access::authenticate(authenticators, forward_auth, auth, address, &origin, head);
        tokio::select! {
            biased;
            identity = authenticated => identity,
            () = connection.client.closed() => Err(Rejection::ClientGone),
        }
    }

    /// Answers a waiting page's request for the progress of its wake.
    async fn answer_waiting_page(
        &self,
        connection: &Rc<HttpConnection>,
        host: &HeaderValue,
        head: &request::Parts,
    ) -> Result<Response<ResponseBody>, Rejection> {
        let HttpShared { admission, streams, .. } = &*self.shared;
        let listener = &self.settings.name;
        let find = |path: &str| {
            let entry = admission.route(listener, host.to_str().ok()?, path).ok()?;
            Some(entry.value.clone())
        };
        let address = client_address(connection.address(), &self.settings.trust, &head.headers);
        Ok(endpoint::answer(streams, connection, address, listener, host, head, find).await?)
    }

    fn route(
        &self,
        host: &HeaderValue,
        head: &request::Parts,
    ) -> Result<Arc<Entry<Arc<Workload>>>, Rejection> {
        let host = host.to_str().unwrap_or_default();
        let found = self.shared.admission.route(&self.settings.name, host, path(head));
        found.map_err(|error| {
            let problem = |detail| ProblemDetails::new(StatusCode::NOT_FOUND, detail);
            match (error, host) {
                (NoRoute::Similar { protected }, _) => problem(format!(
                    "This path differs from the protected path {protected} only in case, encoding \
                     or ending, so it is not served."
                ))
                .code("similar-path"),
                (_, "") => {
                    problem("Nothing is served here for a request that names no host.".to_owned())
                }
                (_, host) => {
                    problem(format!("Nothing is served here for host {host} and this path."))
                }
            }
            .into()
        })
    }

    fn origin<'a>(&'a self, connection: &'a HttpConnection, host: &'a HeaderValue) -> Origin<'a> {
        Origin {
            forwarded_for: &connection.forwarded_for,
            trusted: connection.trusted,
            host,
            via: &self.shared.loops.pseudonym,
        }
    }
}

/// The path by which a request is routed; `OPTIONS *` asks for the root.
fn path(head: &request::Parts) -> &str {
    match head.uri.path() {
        "*" => "/",
        path => path,
    }
}

/// The attributes by which the wake policy classifies a request.
fn attributes(head: &request::Parts) -> RequestAttributes<'_> {
    RequestAttributes {
        method: head.method.as_str(),
        path: path(head),
        user_agent: head.headers.get(USER_AGENT).map_or(&[], HeaderValue::as_bytes),
        is_navigation: is_declared_navigation(&head.headers),
    }
}
