//! HTTP's basic authentication (RFC 7617): a name and a password with every request.

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use drowse_routes::BasicAuth;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use sha2::{Digest, Sha256};

use super::{
    Vouched,
    failures::Failures,
    network,
    queue::{Full, PasswordQueue, Payer},
    strip,
    users::{BadUsers, Users},
};
use crate::{answer::Problem, door::Ended};

/// A password that was right is not checked again for so long; nor is its user looked for in the
/// file.
const RIGHT: Duration = Duration::from_secs(60);
/// A password that was wrong stays wrong for so long.
const WRONG: Duration = Duration::from_secs(5);
/// Credentials of each kind that are remembered.
const REMEMBERED: usize = 1024;
/// A client with too many checks in the queue may try again after this long.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
/// The file is looked at again after so long.
const LOOK: Duration = Duration::from_secs(1);
/// Longer credentials are wrong.
const LONGEST: usize = 1024;

/// Who checks one file's passwords, for all threads.
pub(super) struct Basic {
    /// The operator's.
    name: String,
    settings: BasicAuth,
    known: Mutex<Known>,
    book: Mutex<Book>,
    failures: Mutex<Failures>,
    salt: [u8; 32],
    queue: Arc<PasswordQueue>,
}

/// Credentials that were checked, and until when that counts.
#[derive(Default)]
struct Known {
    right: HashMap<[u8; 32], Instant>,
    wrong: HashMap<[u8; 32], Instant>,
}

/// The file as it was last read.
#[derive(Default)]
struct Book {
    users: Option<Arc<Users>>,
    stamp: Option<Stamp>,
    looked: Option<Instant>,
    /// What was wrong with it, so that it is told once.
    wrong: Option<String>,
}

/// What changes when a file does.
type Stamp = (SystemTime, u64, u64);

/// Why nobody is let in.
enum Denied {
    /// No credentials, or wrong ones.
    Wrong,
    /// This client has sent too many wrong ones, or has too many in the queue. It may try again
    /// after this long.
    TooMany(Duration),
    /// Too many are being checked.
    Busy,
    /// The file cannot be used.
    NoUsers,
}

/// What a client says.
struct Credentials {
    name: String,
    password: Vec<u8>,
}

// === impl Basic ===

impl Basic {
    pub(super) fn new(
        name: &str,
        settings: BasicAuth,
        queue: Arc<PasswordQueue>,
        salt: [u8; 32],
    ) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            known: Mutex::default(),
            book: Mutex::default(),
            failures: Mutex::default(),
            salt,
            queue,
        }
    }

    pub(super) fn settings(&self) -> &BasicAuth {
        &self.settings
    }

    /// Lets the request pass, without the password, or ends it.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        client: IpAddr,
        headers: &mut HeaderMap,
    ) -> Result<Vouched, Ended> {
        if let Some(name) = &self.settings.user_header {
            strip(headers, name);
        }
        match self.check(client, headers).await {
            Ok(user) => {
                // It was for us. The workload has no use for it and may have logs.
                headers.remove(AUTHORIZATION);
                let name = self.settings.user_header.as_deref();
                let name = name.and_then(|name| HeaderName::try_from(name).ok());
                let value = HeaderValue::from_bytes(user.as_bytes()).ok();
                let headers = name.zip(value).into_iter().collect();
                Ok(Vouched { headers, cookies: Vec::new() })
            }
            Err(Denied::Wrong) => {
                let auth = &self.name;
                match said(headers) {
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
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
                Err(problem.code("too-many-passwords").retry_after(pause).into())
            }
            Err(Denied::Busy) => {
                let detail = "Too many passwords are being checked.";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                Err(problem.retry_after(Duration::from_secs(1)).into())
            }
            Err(Denied::NoUsers) => {
                let detail = "Passwords cannot be checked at the moment.";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into())
            }
        }
    }

    /// The name of the user whose password this is. A check that has begun goes on when this is
    /// dropped, and counts.
    async fn check(
        self: &Arc<Self>,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Result<String, Denied> {
        let (said, credentials) = said(headers).ok_or(Denied::Wrong)?;
        let digest: [u8; 32] =
            Sha256::new().chain_update(self.salt).chain_update(said).finalize().into();
        let verdict = |right| if right { Ok(()) } else { Err(Denied::Wrong) };
        let (known, was_right) = {
            let known = lock(&self.known);
            (known.get(&digest), known.was_right(&digest))
        };
        if let Some(right) = known {
            return verdict(right).map(|()| credentials.name);
        }
        // Credentials that were right before are no guess: what others do from the same address
        // does not hold them up.
        let payer =
            if was_right { Payer::Credentials(digest) } else { Payer::Client(network(client)) };
        self.refuse_during_pause(payer, client)?;
        let check = self.queue.enter(payer).map_err(|full| match full {
            Full::OfOne => Denied::TooMany(QUEUE_PAUSE),
            Full::OfAll => Denied::Busy,
        })?;
        let turn = check.turn().await.ok_or(Denied::Busy)?;
        // A browser that opens several connections asks for each of them: one check is enough.
        if let Some(right) = lock(&self.known).get(&digest) {
            return verdict(right).map(|()| credentials.name);
        }
        // The client's other checks may have failed meanwhile.
        self.refuse_during_pause(payer, client)?;
        let basic = self.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let users = basic.users()?;
            let right = users.verify(&credentials.name, &credentials.password);
            lock(&basic.known).remember(digest, right);
            if !right {
                basic.note_failure(client);
            }
            Some((right, credentials.name))
        });
        match checked.await {
            Ok(Some((right, name))) => verdict(right).map(|()| name),
            Ok(None) => Err(Denied::NoUsers),
            Err(_) => Err(Denied::Busy),
        }
    }

    fn refuse_during_pause(&self, payer: Payer, client: IpAddr) -> Result<(), Denied> {
        let pause = match payer {
            Payer::Client(_) => lock(&self.failures).pause(client, Instant::now()),
            Payer::Credentials(_) => None,
        };
        pause.map_or(Ok(()), |pause| Err(Denied::TooMany(pause)))
    }

    fn note_failure(&self, client: IpAddr) {
        if let Some(pause) = lock(&self.failures).note(client, Instant::now()) {
            let auth = &self.name;
            tracing::info!(auth, %client, ?pause, "too many wrong passwords, the client must wait");
        }
    }

    /// The users as the file has them now. While it cannot be read those of before are kept.
    /// Blocks.
    fn users(&self) -> Option<Arc<Users>> {
        let mut book = lock(&self.book);
        if book.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return book.users.clone();
        }
        book.looked = Some(Instant::now());
        let stamp = fs::metadata(&self.settings.users)
            .and_then(|held| Ok((held.modified()?, held.len(), held.ino())))
            .ok();
        if stamp.is_some() && stamp == book.stamp {
            return book.users.clone();
        }
        let users = self.settings.users.display();
        match Users::read(&self.settings.users) {
            Ok(read) => {
                if book.users.is_some() {
                    tracing::info!(%users, "file of users read again");
                }
                *lock(&self.known) = Known::default();
                book.users = Some(Arc::new(read));
                book.stamp = stamp;
                book.wrong = None;
            }
            Err(error) => {
                let wrong = Some(error.to_string());
                if book.wrong != wrong {
                    tracing::warn!(
                        %users, %error,
                        "file of users cannot be read; `drowse check` says what to do, until then \
                         those of before count"
                    );
                    book.wrong = wrong;
                }
                // What is wrong in it stays wrong until it changes. One that could not be opened
                // is tried again: repaired rights are no change.
                book.stamp = stamp.filter(|_| !matches!(error, BadUsers::Unreadable(_)));
            }
        }
        book.users.clone()
    }

    fn challenge(&self) -> Problem {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "This needs a name and a password.");
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.settings.realm);
        match HeaderValue::try_from(challenge) {
            Ok(challenge) => problem.challenge(challenge),
            Err(_) => problem,
        }
    }
}

/// What the client says, as it is and taken apart.
fn said(headers: &HeaderMap) -> Option<(&[u8], Credentials)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let only = values.next()?.as_bytes();
    if values.next().is_some() || only.len() > LONGEST {
        return None;
    }
    let (scheme, encoded) = only.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    // Some of the hashes end at a NUL.
    if password.contains(&0) {
        return None;
    }
    Some((only, Credentials { name, password: password.to_vec() }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Known ===

impl Known {
    fn get(&self, digest: &[u8; 32]) -> Option<bool> {
        let now = Instant::now();
        let counts = |map: &HashMap<_, Instant>| map.get(digest).is_some_and(|until| now < *until);
        if counts(&self.right) { Some(true) } else { counts(&self.wrong).then_some(false) }
    }

    /// They were right when they were checked last, however long ago.
    fn was_right(&self, digest: &[u8; 32]) -> bool {
        self.right.contains_key(digest)
    }

    fn remember(&mut self, digest: [u8; 32], right: bool) {
        let now = Instant::now();
        if !right {
            self.right.remove(&digest);
        }
        let (map, time) = if right { (&mut self.right, RIGHT) } else { (&mut self.wrong, WRONG) };
        if map.len() >= REMEMBERED {
            map.retain(|_, until| now < *until);
        }
        if map.len() >= REMEMBERED {
            map.clear();
        }
        map.insert(digest, now + time);
    }
}

#[cfg(test)]
mod tests;
