//! HTTP's basic authentication (RFC 7617): a name and a password with every request.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use drowse_routes::BasicAuth;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use sha2::{Digest, Sha256};

use super::{
    failures::Failures,
    password_queue::{Account, PasswordQueue, QueueFull},
    user_file::UserFile,
    verdicts::VerdictCache,
};
use crate::{
    access::{
        client_address::client_network,
        identity::{Identity, strip},
    },
    http::rejection::{ProblemDetails, Rejection},
};

/// `Retry-After` of a client with too many checks in the queue.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
/// Maximum bytes of an `Authorization` header; a longer one is wrong.
const MAX_HEADER_BYTES: usize = 1024;

/// Checks the passwords of one user file, for all threads.
pub(super) struct BasicAuthenticator {
    /// NAME of `[auth.NAME]`.
    name: String,
    settings: BasicAuth,
    verdicts: Mutex<VerdictCache>,
    user_file: Mutex<UserFile>,
    failures: Mutex<Failures>,
    salt: [u8; 32],
    queue: Arc<PasswordQueue>,
}

/// The reason why a request is not authenticated.
enum Denied {
    /// The credentials are absent or wrong.
    Wrong,
    /// The client has sent too many wrong passwords, or has too many checks in the queue. It may
    /// try again after this time.
    TooMany(Duration),
    /// The queue is full.
    Busy,
    /// There is no usable user file.
    NoUsers,
}

/// The credentials of one request.
struct Credentials {
    name: String,
    password: Vec<u8>,
}

// === impl BasicAuthenticator ===

impl BasicAuthenticator {
    pub(super) fn new(
        name: &str,
        settings: BasicAuth,
        queue: Arc<PasswordQueue>,
        salt: [u8; 32],
    ) -> Self {
        Self {
            name: name.to_owned(),
            user_file: Mutex::new(UserFile::new(&settings.users)),
            settings,
            verdicts: Mutex::default(),
            failures: Mutex::default(),
            salt,
            queue,
        }
    }

    pub(super) fn settings(&self) -> &BasicAuth {
        &self.settings
    }

    /// Authenticates a request and removes its `Authorization` header. The error is the response
    /// for the client.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        client: IpAddr,
        headers: &mut HeaderMap,
    ) -> Result<Identity, Rejection> {
        if let Some(name) = &self.settings.user_header {
            strip(headers, name);
        }
        match self.check(client, headers).await {
            Ok(user) => {
                // The workload does not need the password, and may log its requests.
                headers.remove(AUTHORIZATION);
                let name = self.settings.user_header.as_deref();
                let name = name.and_then(|name| HeaderName::try_from(name).ok());
                let value = HeaderValue::from_bytes(user.as_bytes()).ok();
                let headers = name.zip(value).into_iter().collect();
                Ok(Identity { headers, cookies: Vec::new() })
            }
            Err(Denied::Wrong) => {
                let auth = &self.name;
                match credentials(headers) {
                    Some((_, Credentials { name: user, .. })) => {
                        tracing::info!(auth, %client, ?user, "wrong name or password");
                    }
                    None => tracing::debug!(auth, %client, "asked for name and password"),
                }
                Err(self.challenge().into())
            }
            Err(Denied::TooMany(pause)) => {
                let detail = "Too many passwords from your address were wrong or are still being \
                              checked. Wait before you try again.";
                let problem = ProblemDetails::new(StatusCode::TOO_MANY_REQUESTS, detail);
                Err(problem.code("too-many-passwords").retry_after(pause).into())
            }
            Err(Denied::Busy) => {
                let detail = "Too many passwords are being checked.";
                let problem = ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                Err(problem.retry_after(Duration::from_secs(1)).into())
            }
            Err(Denied::NoUsers) => {
                let detail = "Passwords cannot be checked at the moment.";
                Err(ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, detail).into())
            }
        }
    }

    /// Checks the credentials and returns the user's name. Dropping the future does not stop a
    /// check that has begun; its verdict is cached.
    async fn check(
        self: &Arc<Self>,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Result<String, Denied> {
        let (header, credentials) = credentials(headers).ok_or(Denied::Wrong)?;
        let digest: [u8; 32] =
            Sha256::new().chain_update(self.salt).chain_update(header).finalize().into();
        let verdict = |correct| if correct { Ok(()) } else { Err(Denied::Wrong) };
        let (cached, was_correct) = {
            let verdicts = lock(&self.verdicts);
            (verdicts.get(&digest), verdicts.was_correct(&digest))
        };
        if let Some(correct) = cached {
            return verdict(correct).map(|()| credentials.name);
        }
        // Credentials that were correct before are not a guess: the failures of other users at
        // the same address do not delay them.
        let account = if was_correct {
            Account::Credentials(digest)
        } else {
            Account::Client(client_network(client))
        };
        self.refuse_during_pause(account, client)?;
        let check = self.queue.enter(account).map_err(|full| match full {
            QueueFull::Account => Denied::TooMany(QUEUE_PAUSE),
            QueueFull::Total => Denied::Busy,
        })?;
        let permit = check.ready().await.ok_or(Denied::Busy)?;
        // A browser sends the credentials on several connections at once: one check is enough.
        if let Some(correct) = lock(&self.verdicts).get(&digest) {
            return verdict(correct).map(|()| credentials.name);
        }
        // The client's other checks may have failed while this one waited.
        self.refuse_during_pause(account, client)?;
        let authenticator = self.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let (users, reloaded) = lock(&authenticator.user_file).users();
            if reloaded {
                *lock(&authenticator.verdicts) = VerdictCache::default();
            }
            let correct = users?.verify(&credentials.name, &credentials.password);
            lock(&authenticator.verdicts).insert(digest, correct);
            if !correct {
                authenticator.record_failure(client);
            }
            Some((correct, credentials.name))
        });
        match checked.await {
            Ok(Some((correct, name))) => verdict(correct).map(|()| name),
            Ok(None) => Err(Denied::NoUsers),
            Err(_) => Err(Denied::Busy),
        }
    }

    fn refuse_during_pause(&self, account: Account, client: IpAddr) -> Result<(), Denied> {
        let pause = match account {
            Account::Client(_) => lock(&self.failures).pause(client, Instant::now()),
            Account::Credentials(_) => None,
        };
        pause.map_or(Ok(()), |pause| Err(Denied::TooMany(pause)))
    }

    fn record_failure(&self, client: IpAddr) {
        if let Some(pause) = lock(&self.failures).record(client, Instant::now()) {
            let auth = &self.name;
            tracing::info!(auth, %client, ?pause, "too many wrong passwords, the client must wait");
        }
    }

    fn challenge(&self) -> ProblemDetails {
        let detail = "This site needs a name and a password.";
        let problem = ProblemDetails::new(StatusCode::UNAUTHORIZED, detail);
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.settings.realm);
        match HeaderValue::try_from(challenge) {
            Ok(challenge) => problem.challenge(challenge),
            Err(_) => problem,
        }
    }
}

/// The `Authorization` header as received, and its decoded credentials.
fn credentials(headers: &HeaderMap) -> Option<(&[u8], Credentials)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next()?.as_bytes();
    if values.next().is_some() || header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    // Some hash functions end the password at a NUL.
    if password.contains(&0) {
        return None;
    }
    Some((header, Credentials { name, password: password.to_vec() }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
