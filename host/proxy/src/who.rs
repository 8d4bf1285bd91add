//! Who is let in and who may wake, decided in front of the gate.
//!
//! The order is always the same: whoever has to authenticate does it first, awake or not. Then the
//! gate: if it is open the request passes, and the rules for waking say nothing. If it is closed,
//! a request that is set aside is answered here, one that may not wake is refused, one that would
//! wake too often is told when to come back, and everybody else is let in by waking.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use drowse_core::{Phase, Visit, Workload};
use drowse_routes::{
    Auth, AuthKind, Entry, Route,
    rules::{Aside, Asked, Barred},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, USER_AGENT},
    request,
};
use tokio::sync::Semaphore;

use crate::{
    answer::Problem,
    client::Client,
    door::{Door, Ended},
    headers::Origin,
};

mod address;
mod basic;
mod forward;
mod limit;
pub(crate) mod preamble;
mod users;

pub(crate) use forward::Asker;
pub use users::check_users;

use basic::Basic;
use limit::Limits;

/// A crawler that was told to come back later may do so after so many seconds.
const LATER: u64 = 600;

/// What all threads share about who comes.
pub(crate) struct Who {
    limits: Limits,
    /// By the operator's names.
    basics: Mutex<HashMap<String, Arc<Basic>>>,
    /// Passwords that are checked at a time: each takes a core for a while.
    desk: Arc<Semaphore>,
    /// Credentials are remembered by a digest that nobody else can compute.
    salt: [u8; 32],
}

/// How a request stands in front of its workload's gate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Knock {
    /// It may wake.
    Visitor {
        /// The client, where wakes are counted.
        counted: Option<IpAddr>,
    },
    /// Nobody has to be woken for it.
    Aside(Aside),
    /// It comes in at an open gate, and may not wake.
    Barred(Barred),
}

/// What authentication has found out about a request, for the workload.
#[derive(Default)]
pub(crate) struct Vouched(Vec<(HeaderName, HeaderValue)>);

// === impl Who ===

impl Who {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            limits: Limits::default(),
            basics: Mutex::default(),
            desk: Arc::new(Semaphore::new((cores / 2).max(1))),
            salt,
        }))
    }

    /// Who checks the passwords of this name; another one when the operator has changed it.
    fn basic(&self, auth: &Auth) -> Option<Arc<Basic>> {
        let AuthKind::Basic(settings) = &auth.kind else { return None };
        let mut basics = self.basics.lock().unwrap_or_else(PoisonError::into_inner);
        match basics.get(&auth.name) {
            Some(basic) if basic.settings() == settings => Some(basic.clone()),
            _ => {
                let basic = Arc::new(Basic::new(settings.clone(), self.desk.clone(), self.salt));
                basics.insert(auth.name.clone(), basic.clone());
                Some(basic)
            }
        }
    }
}

/// Lets the request pass, or ends it. What a client says of itself in headers that are ours to
/// set is taken away.
pub(crate) async fn authenticate(
    door: &Door,
    client: &Rc<Client>,
    auth: &Auth,
    host: &HeaderValue,
    head: &mut request::Parts,
) -> Result<Vouched, Ended> {
    let worker = &door.worker;
    let checked = async {
        match &auth.kind {
            AuthKind::Basic(_) => match worker.who.basic(auth) {
                Some(basic) => basic.authenticate(&mut head.headers).await,
                None => Ok(Vouched::default()),
            },
            AuthKind::Forward(forward) => {
                let forwarded_for = &client.forwarded_for;
                let origin = Origin { forwarded_for, trusted: client.trusted, host };
                worker.asker.authenticate(&auth.name, forward, &origin, head).await
            }
        }
    };
    tokio::select! {
        biased;
        checked = checked => checked,
        () = client.socket.clone().gone() => Err(Ended::Gone),
    }
}

// === impl Knock ===

impl Knock {
    /// Looks at a request as its client sent it.
    pub(crate) fn new(door: &Door, client: &Client, route: &Route, head: &request::Parts) -> Self {
        let rules = &route.wake;
        let path = match head.uri.path() {
            "*" => "/",
            path => path,
        };
        let address = || address::real(client.address, &door.settings.trust, &head.headers);
        if rules.may_set_aside(path) || !rules.is_open() {
            let asked = Asked {
                method: head.method.as_str(),
                path,
                agent: head.headers.get(USER_AGENT).map_or(&[], HeaderValue::as_bytes),
                navigates: navigates(&head.headers),
            };
            if let Some(aside) = rules.aside(&asked) {
                return Self::Aside(aside);
            }
            if let Some(barred) = rules.bars(&asked, address()) {
                return Self::Barred(barred);
            }
        }
        Self::Visitor { counted: (!rules.limits.is_none()).then(address) }
    }

    /// Passes through the gate if it is open.
    pub(crate) fn enter(&self, workload: &Arc<Workload>) -> Option<Visit> {
        match self {
            Self::Aside(Aside { counts: false, .. }) => workload.pass(),
            _ => workload.enter(),
        }
    }

    /// At a gate that was closed: whether the request may go on to wake the workload, or to join
    /// those who wait for a wake that is under way.
    pub(crate) fn ask(&self, who: &Who, entry: &Entry<Arc<Workload>>) -> Result<(), Ended> {
        let workload = &entry.value;
        match self {
            Self::Aside(aside) => Err(Ended::Page(Box::new(answer(aside)))),
            Self::Barred(barred) => {
                let phase = workload.snapshot().phase;
                if matches!(phase, Phase::Waking | Phase::Ready) {
                    return Ok(());
                }
                let name = workload.name();
                let detail = format!("This {barred} may not wake {name}.");
                let problem = Problem::new(StatusCode::FORBIDDEN, detail).code("may-not-wake");
                Err(problem.of(name, phase).into())
            }
            Self::Visitor { counted: None } => Ok(()),
            Self::Visitor { counted: Some(client) } => {
                let limits = &entry.route.wake.limits;
                who.limits.wake(workload, limits, *client).map_err(|over| {
                    let name = workload.name();
                    Problem::new(StatusCode::TOO_MANY_REQUESTS, over.explain(name))
                        .code("wake-limit")
                        .of(name, workload.snapshot().phase)
                        .retry_after(over.again)
                        .into()
                })
            }
        }
    }
}

/// A browser that says that it goes to this address. Those that do not say it ask for icons by
/// themselves like the others.
fn navigates(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

/// What is answered in place of a workload that is not awake.
fn answer(aside: &Aside) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(aside.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if aside.later {
        response.headers_mut().insert(RETRY_AFTER, LATER.into());
    }
    response
}

// === impl Vouched ===

impl Vouched {
    /// Tells the workload. Done last, so that no header of the client can take any of it away.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            headers.append(name, value);
        }
    }
}

/// Takes away what a client sent under these names.
pub(crate) fn strip_all(names: &[String], headers: &mut HeaderMap) {
    for name in names {
        strip(headers, name);
    }
}

/// Takes away what a client sent under this name, and under those that a gateway interface cannot
/// tell from it: `_` and `-` are the same there.
fn strip(headers: &mut HeaderMap, name: &str) {
    let same = |held: &HeaderName| {
        held.as_str().len() == name.len()
            && held.as_str().bytes().zip(name.bytes()).all(|(held, wanted)| {
                held == wanted || matches!((held, wanted), (b'_', b'-') | (b'-', b'_'))
            })
    };
    let found: Vec<_> = headers.keys().filter(|held| same(held)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}
