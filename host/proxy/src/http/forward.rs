//! Sending an admitted request to its upstream, and relaying the response.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io, mem,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use drowse_core::{Confirmation, Generation, Instance, Visit, Workload};
use drowse_routes::Entry;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use super::{
    connection::HttpConnection,
    exchange::Exchange,
    headers::{Malformed, to_client},
    pool::{ConnectionPool, PooledConnection},
    rejection::{ProblemDetails, Rejection},
    request_body::RequestBody,
    response_body::ResponseBody,
    tunnel, upstream,
};
use crate::{
    dial, failure_log::FailureKind, format::ErrorChain, slow_start::Permit, worker::Worker,
};

/// How long an instance may refuse connections while its provider reports it as running. The
/// provider may notice the end of an instance a moment after the visitor does.
const UNREACHABLE_LIMIT: Duration = Duration::from_millis(500);
/// Pause after the first failed attempt; it doubles with each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a provider that does not answer is asked whether an instance still exists.
const CONFIRMATION_LIMIT: Duration = Duration::from_secs(5);

/// One request on its way to an upstream, over any number of attempts.
pub(crate) struct Forward<'a> {
    worker: &'a Rc<Worker>,
    pool: &'a Rc<ConnectionPool>,
    connection: &'a Rc<HttpConnection>,
    entry: &'a Arc<Entry<Arc<Workload>>>,
    /// The protocols that the client offers to switch to, and its side of the switch.
    upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// The request can be sent twice without harm.
    repeatable: bool,
    /// Idle connections may be used.
    pooled: bool,
    /// A request that one instance may have begun to serve may be sent once more.
    may_resend: bool,
    /// If no instance was reachable, the request goes to one other: a workload that ends as soon
    /// as it is ready is not started again and again for one visitor.
    may_change_instance: bool,
    /// The failure has been logged.
    logged: bool,
    /// The instance that fails, and since when.
    failing_since: Option<(Generation, Instant)>,
}

/// Why [`Forward::send`] returns no response.
pub(crate) enum ForwardError {
    /// The client gets this response instead.
    Rejected(Rejection),
    /// The instance could not be reached, and nothing of the request was lost. The request may be
    /// sent again once it is admitted again.
    Unreachable(Box<Request<RequestBody>>),
}

/// A connection to send the request on.
struct Connected {
    upstream: PooledConnection,
    /// The permit of the slow start, if the request had to wait for one.
    permit: Option<Permit>,
    /// The connection has served other requests, and may be dead.
    reused: bool,
}

/// Why one attempt got no response.
enum SendError {
    /// The upstream failed. The request comes back if none of it was sent.
    Failed(hyper::Error, Option<Box<Request<RequestBody>>>),
    /// The deadline of the exchange has expired.
    Expired,
    /// The client has disconnected.
    ClientGone,
}

// === impl Forward ===

impl<'a> Forward<'a> {
    pub(crate) fn new(
        worker: &'a Rc<Worker>,
        pool: &'a Rc<ConnectionPool>,
        connection: &'a Rc<HttpConnection>,
        entry: &'a Arc<Entry<Arc<Workload>>>,
        upgrade: Option<(HeaderValue, OnUpgrade)>,
        message: &Request<RequestBody>,
    ) -> Self {
        let idempotent = matches!(*message.method(), Method::GET | Method::HEAD);
        let repeatable = idempotent && message.body().is_empty() && upgrade.is_none();
        Self {
            worker,
            pool,
            connection,
            entry,
            upgrade,
            repeatable,
            pooled: true,
            may_resend: repeatable,
            may_change_instance: true,
            logged: false,
            failing_since: None,
        }
    }

    /// Sends the request to the instance that was entered, and returns the response. After
    /// [`ForwardError::Unreachable`] the caller admits the visitor again and calls this again.
    pub(crate) async fn send(
        &mut self,
        visit: Visit,
        mut message: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, ForwardError> {
        let exchange = Exchange::new(visit, self.connection);
        message.body_mut().assign_to(Some(&exchange));
        let visit = &exchange.visit;
        let generation = visit.generation();
        let (error, sent, may_dial) = loop {
            let may_dial = visit.may_dial();
            let open = may_dial || visit.instance().is_open();
            let idle = (open && self.pooled).then(|| self.idle_connection(visit)).flatten();
            let connected = match idle {
                Some(upstream) => Ok(Connected { upstream, permit: None, reused: true }),
                None if !may_dial => Err(unconfirmed()),
                None => {
                    let failing = self.failing_since.filter(|(failing, _)| *failing == generation);
                    self.failing_since = failing.or_else(|| Some((generation, Instant::now())));
                    Box::pin(self.connect(&exchange)).await?
                }
            };
            let Connected { mut upstream, permit, reused } = match connected {
                Ok(connected) => connected,
                Err(error) => break (error.to_string(), false, may_dial),
            };
            let copy = self.may_resend.then(|| Box::new(copy(&message, self.connection)));
            match send(&mut upstream, message, self.connection).await {
                Ok(response) => {
                    if let Some(permit) = permit {
                        permit.answered();
                    }
                    return Ok(self.respond(response, exchange, upstream)?);
                }
                Err(SendError::ClientGone) => return Err(Rejection::ClientGone.into()),
                Err(SendError::Expired) => return Err(self.expired(visit.instance()).into()),
                Err(SendError::Failed(error, unsent)) => {
                    let sent = unsent.is_none();
                    let copy = copy.filter(|_| broke_off(&error));
                    let Some(again) = unsent.or(copy) else {
                        let error = ErrorChain(&error).to_string();
                        return Err(self.failed(visit.instance(), &error).into());
                    };
                    message = *again;
                    if !reused {
                        break (ErrorChain(&error).to_string(), sent, may_dial);
                    }
                    tracing::debug!(
                        workload = %visit.workload().name(), %error,
                        "idle connection was closed by the upstream, dialling a new one"
                    );
                    self.pooled = false;
                }
            }
        };
        // A failure without a dial does not disqualify idle connections.
        self.pooled &= !may_dial;
        if sent {
            self.may_resend = false;
            // The instance accepted the request, so it fails only from now on.
            self.failing_since = Some((generation, Instant::now()));
        }
        let (workload, instance) = (visit.workload().clone(), visit.instance().clone());
        if instance.is_open() && !mem::replace(&mut self.logged, true) {
            let kind = FailureKind::Unreachable;
            self.worker.failures.record(workload.name(), kind, &error, || {
                tracing::info!(
                    workload = %workload.name(), %generation, error,
                    "upstream does not respond though ready, asking the provider"
                );
            });
        }
        message.body_mut().assign_to(None);
        drop(exchange);
        let over = match self.failing_since {
            Some((_, since)) if may_dial => until_over(&workload, &instance, since, sent).await,
            _ => confirm_end(&workload, &instance, Instant::now()).await,
        };
        match over {
            None => Err(self.failed(&instance, &error).into()),
            Some(true) if !mem::take(&mut self.may_change_instance) => {
                Err(self.failed(&instance, &error).into())
            }
            Some(_) => Err(ForwardError::Unreachable(Box::new(message))),
        }
    }

    fn idle_connection(&self, visit: &Visit) -> Option<PooledConnection> {
        let port = self.entry.route.port;
        self.pool.take(visit.workload(), port, visit.generation(), self.repeatable)
    }

    /// A connection to the instance that was entered, once the slow start permits one: a new one,
    /// unless one has become idle by then. The dial ends with the instance.
    async fn connect(&self, exchange: &Rc<Exchange>) -> Result<io::Result<Connected>, Rejection> {
        let port = self.entry.route.port;
        let visit = &exchange.visit;
        let (workload, instance) = (visit.workload(), visit.instance());
        let Some((host, outer)) = visit.upstream(port) else {
            let error = "the provider knows no address for the route's port";
            return Err(self.failed(instance, error));
        };
        let generation = visit.generation();
        let connected = async {
            let (slow_start, suspicion) = self.pool.slow_start(workload, port, generation);
            let permit = Some(slow_start.acquire().await);
            let idle = self.pooled.then(|| self.idle_connection(visit)).flatten();
            if let Some(upstream) = idle {
                return Ok(Connected { upstream, permit, reused: true });
            }
            if !visit.may_dial() {
                return Err(unconfirmed());
            }
            let began = Instant::now();
            let policy = &**workload;
            let limits = &self.connection.settings.limits;
            let dial = upstream::connect(host, outer, policy, limits, instance, &suspicion);
            let silent = async {
                tokio::time::sleep(suspicion.silence()).await;
                suspicion.is_silent(instance);
                // The dial ends if the instance has ended.
                workload.confirm(instance).await;
                pending::<Infallible>().await
            };
            let dialled = tokio::select! {
                biased;
                dialled = dial => dialled,
                never = silent => match never {},
            };
            let connection = dialled.inspect_err(|_| suspicion.failed(instance))?;
            let after = began.elapsed();
            // The address of a late connection may have become another target's meanwhile.
            let late = suspicion.is_late(after);
            suspicion.connected(after);
            if (late || !visit.may_dial())
                && workload.confirm(instance).await != Confirmation::Confirmed
            {
                return Err(unconfirmed());
            }
            let upstream = self.pool.add(connection, workload, port, generation);
            Ok(Connected { upstream, permit, reused: false })
        };
        let ended = pin!(instance.closed());
        tokio::select! {
            biased;
            () = ended => Ok(Err(dial::instance_ended())),
            connected = connected => Ok(connected),
            () = self.connection.client.closed() => Err(Rejection::ClientGone),
        }
    }

    /// The response to the client, from the upstream's.
    fn respond(
        &mut self,
        response: Response<Incoming>,
        exchange: Rc<Exchange>,
        mut upstream: PooledConnection,
    ) -> Result<Response<ResponseBody>, Rejection> {
        let (mut head, body) = response.into_parts();
        if head.version < Version::HTTP_11 {
            // hyper would send further requests as HTTP/1.0, which has no body of unknown length.
            upstream.make_last();
        }
        let protocols = self.upgrade.as_ref().map(|(protocols, _)| protocols);
        if let Err(Malformed(reason)) = to_client(&mut head, &body, protocols) {
            return Err(self.failed(exchange.visit.instance(), reason));
        }
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Response::from_parts(head, ResponseBody::relayed(body, exchange, upstream)));
        }
        let upstream_io = head.extensions.remove::<OnUpgrade>();
        let (Some((_, client_io)), Some(upstream_io)) = (self.upgrade.take(), upstream_io) else {
            let error = "the switch of protocols was not completed";
            return Err(self.failed(exchange.visit.instance(), error));
        };
        self.worker.tasks.spawn_local(tunnel::run(exchange, upstream, client_io, upstream_io));
        Ok(Response::from_parts(head, ResponseBody::bytes(Default::default(), self.connection)))
    }

    /// The deadline of the exchange has expired.
    fn expired(&self, instance: &Instance) -> Rejection {
        if self.connection.deadline.waits_on_request_body() {
            let detail = "The request's body did not arrive in time.";
            return self.problem(StatusCode::REQUEST_TIMEOUT, detail);
        }
        let limit = self.connection.settings.limits.response_timeout;
        self.warn(instance.generation(), &format!("no response within {limit:?}"));
        let detail = "The backend took too long to answer.";
        self.problem(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// The upstream failed, or the client's request body did.
    fn failed(&self, instance: &Instance, error: &str) -> Rejection {
        if self.connection.body_failed.get() {
            let detail = "The request's body broke off or is malformed.";
            return self.problem(StatusCode::BAD_REQUEST, detail);
        }
        self.warn(instance.generation(), error);
        let detail = match instance.has_ended() {
            true => "The backend has ended before it answered.",
            false => "The backend is ready but does not answer.",
        };
        self.problem(StatusCode::BAD_GATEWAY, detail)
    }

    fn problem(&self, status: StatusCode, detail: &str) -> Rejection {
        let workload = &self.entry.value;
        ProblemDetails::new(status, detail).of(workload.name(), workload.snapshot().phase).into()
    }

    fn warn(&self, generation: Generation, error: &str) {
        let route = &self.entry.route;
        self.worker.failures.record(&route.workload, FailureKind::Failed, error, || {
            tracing::warn!(
                workload = %route.workload,
                %generation,
                route = %format_args!("{}{}", route.host, route.path),
                error,
                "upstream failed"
            );
        });
    }
}

/// Asks the provider whether the instance has ended, until it answers. None if it does not within
/// [`CONFIRMATION_LIMIT`] of `since`.
async fn confirm_end(
    workload: &Arc<Workload>,
    instance: &Instance,
    since: Instant,
) -> Option<bool> {
    let mut pause = RETRY_PAUSE;
    loop {
        match workload.confirm(instance).await {
            Confirmation::Closed => return Some(true),
            Confirmation::Confirmed => return Some(false),
            Confirmation::Unanswered if since.elapsed() > CONFIRMATION_LIMIT => return None,
            Confirmation::Unanswered => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
}

/// As [`confirm_end`], for an instance that cannot be reached: None as well after
/// [`UNREACHABLE_LIMIT`]. A request that was `sent` already waits for the end of the instance.
async fn until_over(
    workload: &Arc<Workload>,
    instance: &Instance,
    since: Instant,
    sent: bool,
) -> Option<bool> {
    let mut pause = RETRY_PAUSE;
    loop {
        if confirm_end(workload, instance, since).await? {
            return Some(true);
        }
        if since.elapsed() > UNREACHABLE_LIMIT {
            return None;
        }
        // The provider may not have noticed the end yet.
        tokio::time::sleep(pause).await;
        pause *= 2;
        if !sent {
            return Some(false);
        }
    }
}

/// Sends the request and waits for the response's head.
async fn send(
    upstream: &mut PooledConnection,
    message: Request<RequestBody>,
    connection: &Rc<HttpConnection>,
) -> Result<Response<Incoming>, SendError> {
    let uploads = !message.body().is_empty();
    let HttpConnection { client, deadline, .. } = &**connection;
    let mut closed = None;
    deadline.request_started();
    let response = upstream.requests().try_send_request(message);
    tokio::pin!(response);
    poll_fn(|cx| {
        if let Poll::Ready(result) = response.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|mut error| {
                let unsent = error.take_message().map(Box::new);
                SendError::Failed(error.into_error(), unsent)
            }));
        }
        if deadline.poll_expired(cx).is_ready() {
            return Poll::Ready(Err(SendError::Expired));
        }
        if uploads || !client.socket.is_watched() {
            let closed = closed.get_or_insert_with(|| Box::pin(client.closed()));
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(SendError::ClientGone));
            }
        }
        Poll::Pending
    })
    .await
}

/// An instance is not dialled until its provider has confirmed that it still exists.
fn unconfirmed() -> io::Error {
    io::Error::other("its provider has not confirmed that the address is still its own")
}

/// A copy of the request, to be sent if the connection turns out to be dead.
fn copy(message: &Request<RequestBody>, connection: &Rc<HttpConnection>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty(connection));
    *copy.method_mut() = message.method().clone();
    *copy.uri_mut() = message.uri().clone();
    *copy.headers_mut() = message.headers().clone();
    copy
}

/// The connection ended before the response began; the response was not malformed.
fn broke_off(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.is_incomplete_message() || cause.is_some_and(|cause| cause.is::<io::Error>())
}

// === impl ForwardError ===

impl From<Rejection> for ForwardError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
