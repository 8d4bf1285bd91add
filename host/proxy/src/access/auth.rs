//! Authentication of requests: HTTP's basic scheme, or an external service.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use drowse_routes::{Auth, AuthKind, BasicAuth};
use http::request;

mod basic;
mod failures;
mod forward;
mod password_queue;
mod user_file;
mod users;
mod verdicts;

use basic::BasicAuthenticator;
use password_queue::PasswordQueue;

pub(crate) use forward::ForwardAuthClient;
pub use users::check_users;

use super::identity::Identity;
use crate::http::{headers::Origin, rejection::Rejection};

/// The basic authenticators of all `[auth.NAME]` tables, shared by all threads.
pub(crate) struct Authenticators {
    basic: Mutex<HashMap<String, Arc<BasicAuthenticator>>>,
    /// Limits password checks, each of which occupies a core for about a tenth of a second.
    password_queue: Arc<PasswordQueue>,
    /// Secret salt of the digests under which checked credentials are cached.
    salt: [u8; 32],
}

/// Authenticates a request by the route's `auth`. Removes identity headers that the client sent
/// itself. The error is the response for the client.
pub(crate) async fn authenticate(
    authenticators: &Authenticators,
    forward_client: &ForwardAuthClient,
    auth: &Auth,
    client: IpAddr,
    origin: &Origin<'_>,
    head: &mut request::Parts,
) -> Result<Identity, Rejection> {
    match &auth.kind {
        AuthKind::Basic(settings) => {
            let basic = authenticators.basic(&auth.name, settings);
            basic.authenticate(client, &mut head.headers).await
        }
        AuthKind::Forward(settings) => {
            forward_client.authenticate(&auth.name, settings, client, origin, head).await
        }
    }
}

// === impl Authenticators ===

impl Authenticators {
    pub(super) fn new() -> io::Result<Self> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            basic: Mutex::default(),
            password_queue: PasswordQueue::new((cores / 2).max(1)),
            salt,
        })
    }

    /// The authenticator of this name; a new one if its settings have changed.
    fn basic(&self, name: &str, settings: &BasicAuth) -> Arc<BasicAuthenticator> {
        let mut all = self.basic.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(name) {
            Some(basic) if basic.settings() == settings => basic.clone(),
            _ => {
                let (settings, queue) = (settings.clone(), self.password_queue.clone());
                let basic = Arc::new(BasicAuthenticator::new(name, settings, queue, self.salt));
                all.insert(name.to_owned(), basic.clone());
                basic
            }
        }
    }
}
