//! Who is let in and who may wake, decided in front of the gate.
//!
//! The order is always the same, for everything but the reserved path, which has signatures of its
//! own: whoever has to authenticate does it first, awake or not. Then the gate: if it is open the
//! request passes, and the rules for waking say nothing. If it is closed, a request that is set
//! aside is answered here, one that may not wake is refused, one that would wake too often is told
//! when to come back, and everybody else is let in by waking. Both of those may join a wake that
//! is coming without them.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    answer::Problem,
    client::Client,
    door::{Door, Ended},
    headers::{Origin, is_introduction},
};
use bytes::Bytes;
use drowse_core::{Cause, Visit, Workload};
use drowse_routes::{
    Auth, AuthKind, BasicAuth, Entry, Route,
    rules::{Aside, Asked, Barred},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, RETRY_AFTER, USER_AGENT},
    request,
};

mod address;
mod basic;
mod failures;
mod forward;
mod limit;
mod queue;
mod users;

pub(crate) use address::real as real_address;
pub(crate) use forward::Asker;
pub(crate) use limit::network;
pub use users::check_users;

use basic::Basic;
use limit::Limits;
use queue::PasswordQueue;

/// A crawler that was told to come back later may do so after so many seconds.
const LATER: u64 = 600;

/// What all threads share about who comes.
pub(crate) struct Who {
    limits: Limits,
    /// By the operator's names.
    basics: Mutex<HashMap<String, Arc<Basic>>>,
    /// Passwords that are checked: each takes a core for a while.
    passwords: Arc<PasswordQueue>,
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

/// What a request may do at a gate that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// Wake the workload.
    Wake,
    /// Wait for a wake that is coming without it.
    Join,
}

/// What authentication has to say about a request that passes.
#[derive(Default)]
pub(crate) struct Vouched {
    /// For the workload.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the client, with whatever it is answered: a session that was renewed.
    pub(crate) cookies: Vec<HeaderValue>,
}

// === impl Who ===

impl Who {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            limits: Limits::default(),
            basics: Mutex::default(),
            passwords: PasswordQueue::new((cores / 2).max(1)),
            salt,
        }))
    }

    /// Who checks the passwords of this name; another one when the operator has changed it.
    fn basic(&self, name: &str, settings: &BasicAuth) -> Arc<Basic> {
        let mut basics = self.basics.lock().unwrap_or_else(PoisonError::into_inner);
        match basics.get(name) {
            Some(basic) if basic.settings() == settings => basic.clone(),
            _ => {
                let (settings, passwords) = (settings.clone(), self.passwords.clone());
                let basic = Arc::new(Basic::new(name, settings, passwords, self.salt));
                basics.insert(name.to_owned(), basic.clone());
                basic
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
    let address = real_address(client.address, &door.settings.trust, &head.headers);
    let checked = async {
        match &auth.kind {
            AuthKind::Basic(settings) => {
                let basic = worker.who.basic(&auth.name, settings);
                basic.authenticate(address, &mut head.headers).await
            }
            AuthKind::Forward(forward) => {
                let forwarded_for = &client.forwarded_for;
                let via = &worker.loops.pseudonym;
                let origin = Origin { forwarded_for, trusted: client.trusted, host, via };
                worker.asker.authenticate(&auth.name, forward, address, &origin, head).await
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
        let address = || real_address(client.address, &door.settings.trust, &head.headers);
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

    /// At a gate that was closed: what the request may do, if anything. Where wakes are counted,
    /// the workload is woken by this, for this cause.
    pub(crate) fn ask(
        &self,
        who: &Who,
        entry: &Entry<Arc<Workload>>,
        cause: impl FnOnce() -> Cause,
    ) -> Result<May, Ended> {
        let workload = &entry.value;
        let name = workload.name();
        match self {
            Self::Aside(aside) => Err(Ended::Response(Box::new(answer(aside)))),
            Self::Barred(_) if workload.snapshot().is_coming() => Ok(May::Join),
            Self::Barred(barred) => {
                let detail = format!("This {barred} may not wake {name}.");
                let problem = Problem::new(StatusCode::FORBIDDEN, detail).code("may-not-wake");
                Err(problem.of(name, workload.snapshot().phase).into())
            }
            Self::Visitor { counted: None } => Ok(May::Wake),
            Self::Visitor { counted: Some(client) } => {
                let limits = &entry.route.wake.limits;
                match who.limits.wake(workload, limits, *client, cause) {
                    Ok(()) => Ok(May::Join),
                    Err(over) => {
                        let detail = over.explain(name);
                        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                            .code("wake-limit")
                            .of(name, workload.snapshot().phase)
                            .retry_after(over.again)
                            .into())
                    }
                }
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
        for (name, value) in self.headers {
            headers.append(name, value);
        }
    }
}

/// Takes away what a client sent under these names to say who it is. With credentials it proves
/// that, so they stay until they have been looked at.
pub(crate) fn strip_claims(names: &[String], headers: &mut HeaderMap) {
    let credentials = [AUTHORIZATION.as_str(), COOKIE.as_str()];
    for name in names.iter().filter(|name| !credentials.contains(&name.as_str())) {
        strip(headers, name);
    }
}

/// Takes away trailers by which a client would say who it is or where it comes from.
pub(crate) fn strip_trailers(names: &[String], trailers: &mut HeaderMap) {
    for name in names {
        strip(trailers, name);
    }
    let introductions: Vec<_> =
        trailers.keys().filter(|name| is_introduction(name.as_str())).cloned().collect();
    for name in introductions {
        trailers.remove(name);
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
