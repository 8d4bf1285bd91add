//! A request that was let in: to the upstream and back.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use drowse_core::{Confirmation, Generation, Instance, Visit, Workload};
use drowse_routes::Entry;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use crate::{
    access::WakePolicy,
    answer::Problem,
    body::{Answered, Exchange, Upload},
    client::Client,
    door::{Door, Ended},
    headers::{Malformed, to_client},
    pool::Lease,
    ramp::Step,
    tunnel, upstream,
    waiting::Visitor,
    words::Chain,
};

/// An upstream that cannot be reached though its provider says that it runs is given so long: the
/// provider may learn of its end a moment later than the visitor.
const DOUBT: Duration = Duration::from_millis(500);
const DOUBT_PAUSE: Duration = Duration::from_millis(20);
/// A provider that does not answer whether an instance is still there is asked for this long.
const UNANSWERED: Duration = Duration::from_secs(5);

/// What is to be forwarded, for whom and where.
pub(crate) struct Forward<'a> {
    pub(crate) door: &'a Rc<Door>,
    pub(crate) client: &'a Rc<Client>,
    pub(crate) entry: &'a Arc<Entry<Arc<Workload>>>,
    /// The host that the client asked for.
    pub(crate) host: &'a HeaderValue,
    /// How it came to the gate, should it come there again.
    pub(crate) policy: WakePolicy,
    /// Until then it may be held, if it has been held before.
    pub(crate) deadline: Option<Instant>,
    /// The protocols that the client would switch to, and its side of the switch.
    pub(crate) upgrade: Option<(HeaderValue, OnUpgrade)>,
}

/// A connection to send the request on.
struct Connected {
    lease: Lease,
    /// Its turn in the crowd, if it had to wait for one.
    step: Option<Step>,
    /// It has served others, and may have died since.
    reused: bool,
}

/// Why there is no answer.
enum Unanswered {
    /// The upstream failed. The message comes back when none of it was sent.
    Failed(hyper::Error, Option<Box<Request<Upload>>>),
    /// Whoever had to go on did not in time.
    Overdue,
    /// The client does not wait for it any more.
    Gone,
}

// === impl Forward ===

impl Forward<'_> {
    /// Sends the request and returns the answer. As long as nothing that matters was sent, an
    /// upstream that cannot be reached is only the reason to look at the workload and wake it again.
    pub(crate) async fn run(
        mut self,
        visit: Visit,
        head: request::Parts,
        upload: Upload,
    ) -> Result<Response<Answered>, Ended> {
        let idempotent = matches!(head.method, Method::GET | Method::HEAD);
        let repeatable = idempotent && upload.is_empty() && self.upgrade.is_none();
        let mut message = Request::from_parts(head, upload);
        let mut exchange = Exchange::new(visit, self.client);
        message.body_mut().belong(Some(&exchange));
        let mut pooled = true;
        // What one life may have begun to serve is sent to another, once.
        let mut second_chance = repeatable;
        // What no life could be reached with is tried with one other: a workload that ends as soon
        // as it is ready is not started again and again for one visitor.
        let mut another_life = true;
        let mut told = false;
        // Since when this life is tried in vain.
        let mut tried: Option<(Generation, Instant)> = None;
        loop {
            let generation = exchange.visit.generation();
            let workload = exchange.visit.workload();
            let pool = &self.door.worker.pool;
            let port = self.entry.route.port;
            let idle = || pool.take(workload, port, generation, repeatable);
            let may_dial = exchange.visit.may_dial();
            let open = may_dial || exchange.visit.instance().is_open();
            let connected = match (open && pooled).then(idle).flatten() {
                Some(lease) => Ok(Connected { lease, step: None, reused: true }),
                None if !may_dial => Err(unconfirmed()),
                None => {
                    tried = tried.filter(|(life, _)| *life == generation);
                    tried.get_or_insert_with(|| (generation, Instant::now()));
                    Box::pin(self.connect(&exchange, pooled.then_some(idle))).await?
                }
            };
            let (why, sent) = match connected {
                Err(error) => (error.to_string(), false),
                Ok(Connected { mut lease, step, reused }) => {
                    let spare = second_chance.then(|| Box::new(copy(&message, self.client)));
                    match send(&mut lease, message, self.client).await {
                        Ok(response) => {
                            if let Some(step) = step {
                                step.answered();
                            }
                            return self.answer(response, exchange, lease);
                        }
                        Err(Unanswered::Gone) => return Err(Ended::Gone),
                        Err(Unanswered::Overdue) => {
                            return Err(self.overdue(exchange.visit.instance()));
                        }
                        Err(Unanswered::Failed(error, back)) => {
                            let sent = back.is_none();
                            let spare = spare.filter(|_| broke_off(&error));
                            let Some(again) = back.or(spare) else {
                                let why = Chain(&error).to_string();
                                return Err(self.broken(exchange.visit.instance(), &why));
                            };
                            message = *again;
                            if reused {
                                tracing::debug!(
                                    workload = %exchange.visit.workload().name(), %error,
                                    "idle connection was dead, taking a new one"
                                );
                                pooled = false;
                                continue;
                            }
                            (Chain(&error).to_string(), sent)
                        }
                    }
                }
            };
            // Nothing is wrong with idle connections if it was not tried.
            pooled &= !may_dial;
            if sent {
                second_chance = false;
                // It has served until now.
                tried = Some((generation, Instant::now()));
            }
            let workload = exchange.visit.workload().clone();
            let instance = exchange.visit.instance().clone();
            if instance.is_open() && !std::mem::replace(&mut told, true) {
                tracing::info!(
                    workload = %workload.name(), %generation, error = why,
                    "upstream does not answer though ready, asking the provider"
                );
            }
            message.body_mut().belong(None);
            drop(exchange);
            let over = match tried {
                Some((_, since)) if may_dial => self.doubt(&workload, &instance, since, sent).await,
                _ => self.confirm(&workload, &instance, Instant::now()).await,
            };
            let Some(over) = over else { return Err(self.broken(&instance, &why)) };
            if over && !std::mem::take(&mut another_life) {
                return Err(self.broken(&instance, &why));
            }
            let visit = match self.policy.enter(&self.entry.value) {
                Some(visit) => visit,
                None => {
                    let limit = self.entry.route.hold_timeout;
                    let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
                    let visitor = Visitor {
                        room: self.door.worker.streams.room(),
                        access: &self.door.worker.access,
                        client: self.client,
                        listener: &self.door.settings.name,
                        held: &self.door.held,
                        entry: self.entry,
                        policy: &self.policy,
                        host: self.host,
                        method: message.method(),
                        headers: message.headers(),
                        deadline,
                    };
                    Box::pin(visitor.admit()).await?
                }
            };
            exchange = Exchange::new(visit, self.client);
            message.body_mut().belong(Some(&exchange));
        }
    }

    /// Asks the provider until it has answered whether no request may be sent to the instance any
    /// more. None when it has not answered for too long.
    async fn confirm(
        &self,
        workload: &Arc<Workload>,
        instance: &Instance,
        since: Instant,
    ) -> Option<bool> {
        let mut pause = DOUBT_PAUSE;
        loop {
            match workload.confirm(instance).await {
                Confirmation::Over => return Some(true),
                Confirmation::Confirmed => return Some(false),
                Confirmation::Unanswered if since.elapsed() > UNANSWERED => return None,
                Confirmation::Unanswered => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
    }

    /// The instance could not be reached. As [`Forward::confirm`], and none as well when it should
    /// have been reached by now. What was sent already waits for the end of the instance.
    async fn doubt(
        &self,
        workload: &Arc<Workload>,
        instance: &Instance,
        since: Instant,
        sent: bool,
    ) -> Option<bool> {
        let mut pause = DOUBT_PAUSE;
        loop {
            if self.confirm(workload, instance, since).await? {
                return Some(true);
            }
            if since.elapsed() > DOUBT {
                return None;
            }
            // The provider may not have heard of it yet.
            tokio::time::sleep(pause).await;
            pause *= 2;
            if !sent {
                return Some(false);
            }
        }
    }

    /// A connection to the instance that was entered, when it is this visitor's turn: a new one,
    /// unless one has become idle by then. The dial ends with the instance.
    async fn connect(
        &self,
        exchange: &Rc<Exchange>,
        idle: Option<impl Fn() -> Option<Lease>>,
    ) -> Result<io::Result<Connected>, Ended> {
        let port = self.entry.route.port;
        let visit = &exchange.visit;
        let (workload, instance) = (visit.workload(), visit.instance());
        let Some((host, outer)) = visit.upstream(port) else {
            let why = "the provider knows no address for the route's port";
            return Err(self.broken(instance, why));
        };
        let generation = visit.generation();
        let pool = &self.door.worker.pool;
        let connected = async {
            let (ramp, suspicion) = pool.ramp(workload, port, generation);
            let step = Some(ramp.step().await);
            if let Some(lease) = idle.and_then(|idle| idle()) {
                return Ok(Connected { lease, step, reused: true });
            }
            if !visit.may_dial() {
                return Err(unconfirmed());
            }
            let began = Instant::now();
            let policy = &**workload;
            let limits = &self.door.limits;
            let dial = upstream::connect(host, outer, policy, limits, instance, &suspicion);
            let silent = async {
                tokio::time::sleep(suspicion.silence()).await;
                suspicion.is_silent(instance);
                // If it is over the dial ends.
                workload.confirm(instance).await;
                pending::<Infallible>().await
            };
            let dialled = tokio::select! {
                biased;
                dialled = dial => dialled,
                never = silent => match never {},
            };
            let link = dialled.inspect_err(|_| suspicion.failed(instance))?;
            let after = began.elapsed();
            // Whoever has answered late may have been given the address meanwhile.
            let late = suspicion.is_late(after);
            suspicion.connected(after);
            if (late || !visit.may_dial())
                && workload.confirm(instance).await != Confirmation::Confirmed
            {
                return Err(unconfirmed());
            }
            let lease = pool.lease(link, workload, port, generation);
            Ok(Connected { lease, step, reused: false })
        };
        let ended = pin!(instance.closed());
        tokio::select! {
            biased;
            () = ended => Ok(Err(upstream::has_ended())),
            connected = connected => Ok(connected),
            () = self.client.socket.clone().gone() => Err(Ended::Gone),
        }
    }

    fn answer(
        &mut self,
        response: Response<Incoming>,
        exchange: Rc<Exchange>,
        mut lease: Lease,
    ) -> Result<Response<Answered>, Ended> {
        let (mut head, body) = response.into_parts();
        if head.version < Version::HTTP_11 {
            // hyper would speak HTTP/1.0 too from now on, which has no body of unknown length.
            lease.make_last();
        }
        let protocols = self.upgrade.as_ref().map(|(protocols, _)| protocols);
        if let Err(Malformed(reason)) = to_client(&mut head, &body, protocols) {
            return Err(self.broken(exchange.visit.instance(), reason));
        }
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Response::from_parts(head, Answered::relayed(body, exchange, lease)));
        }
        let theirs = head.extensions.remove::<OnUpgrade>();
        let (Some((_, ours)), Some(theirs)) = (self.upgrade.take(), theirs) else {
            let why = "the switch of protocols was not completed";
            return Err(self.broken(exchange.visit.instance(), why));
        };
        let client = self.client.clone();
        let tunnel = tunnel::run(self.door.clone(), client.clone(), exchange, lease, ours, theirs);
        self.door.worker.tasks.spawn_local(tunnel);
        Ok(Response::from_parts(head, Answered::ours(Default::default(), &client)))
    }

    fn overdue(&self, instance: &Instance) -> Ended {
        if self.client.owes_body() {
            let detail = "The request's body did not arrive in time.";
            return self.problem(StatusCode::REQUEST_TIMEOUT, detail);
        }
        let limit = self.door.limits.response_timeout;
        self.warn(instance.generation(), &format!("no response within {limit:?}"));
        let detail = "The backend took too long to answer.";
        self.problem(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// The upstream failed, or the client's own body did.
    fn broken(&self, instance: &Instance, why: &str) -> Ended {
        if self.client.broke_off.get() {
            let detail = "The request's body broke off or is malformed.";
            return self.problem(StatusCode::BAD_REQUEST, detail);
        }
        self.warn(instance.generation(), why);
        let detail = match instance.has_ended() {
            true => "The backend has ended before it answered.",
            false => "The backend is ready but does not answer.",
        };
        self.problem(StatusCode::BAD_GATEWAY, detail)
    }

    fn problem(&self, status: StatusCode, detail: &str) -> Ended {
        let workload = &self.entry.value;
        Problem::new(status, detail).of(workload.name(), workload.snapshot().phase).into()
    }

    fn warn(&self, generation: Generation, error: &str) {
        let route = &self.entry.route;
        tracing::warn!(
            workload = %route.workload,
            %generation,
            route = %format_args!("{}{}", route.host, route.path),
            error,
            "upstream failed"
        );
    }
}

/// Sends the request and waits for the response's head.
async fn send(
    lease: &mut Lease,
    message: Request<Upload>,
    client: &Rc<Client>,
) -> Result<Response<Incoming>, Unanswered> {
    let uploads = !message.body().is_empty();
    let mut gone = None;
    client.request_goes();
    let response = lease.requests().try_send_request(message);
    tokio::pin!(response);
    poll_fn(|cx| {
        if let Poll::Ready(result) = response.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|mut error| {
                let back = error.take_message().map(Box::new);
                Unanswered::Failed(error.into_error(), back)
            }));
        }
        if client.poll_overdue(cx).is_ready() {
            return Poll::Ready(Err(Unanswered::Overdue));
        }
        if uploads || !client.socket.is_watched() {
            let gone = gone.get_or_insert_with(|| Box::pin(client.socket.clone().gone()));
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Unanswered::Gone));
            }
        }
        Poll::Pending
    })
    .await
}

/// The instance is not dialled before its provider has said that it is still there.
fn unconfirmed() -> io::Error {
    io::Error::other("its provider has not confirmed that the address is still its own")
}

/// The same request, to be sent again if the connection turns out to be dead.
fn copy(message: &Request<Upload>, client: &Rc<Client>) -> Request<Upload> {
    let mut copy = Request::new(Upload::empty(client));
    *copy.method_mut() = message.method().clone();
    *copy.uri_mut() = message.uri().clone();
    *copy.headers_mut() = message.headers().clone();
    copy
}

/// The connection ended before the answer began; nothing was said that was not understood.
fn broke_off(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.is_incomplete_message() || cause.is_some_and(|cause| cause.is::<io::Error>())
}
