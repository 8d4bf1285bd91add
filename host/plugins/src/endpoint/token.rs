//! Bearer tokens that one place asks for and another one gives out, as registries of images do it.
//!
//! The place answers 401 and names a realm, a service and a scope (RFC 6750; the token
//! authentication of the OCI distribution). If the realm is the one that the operator granted, it is
//! asked for a token, which is kept until it expires and goes with the requests from then on. The
//! guest sees neither the token nor what was shown for it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Endpoint, Outgoing};
use crate::{fault::clean, grants::masked_url, settings::EndpointGrant};

/// Tokens that are kept: one for each repository that is read at a time.
const TOKENS: usize = 16;
/// Bytes of the answer with a token.
const ANSWER: usize = 64 << 10;
/// A token that does not say how long it holds.
const USUAL: Duration = Duration::from_secs(60);
/// It is not used any more so short before its end.
const MARGIN: Duration = Duration::from_secs(5);

/// The tokens for one endpoint.
pub(super) struct Tokens {
    giver: Endpoint,
    /// Where the giver is, as challenges name it.
    realm: String,
    /// The latest used is the last.
    kept: Mutex<Vec<Token>>,
}

struct Token {
    wanted: Wanted,
    value: HeaderValue,
    until: Instant,
}

/// What a place wants a token for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    service: Option<String>,
    scope: Option<String>,
}

/// A giver's answer.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(name: &str, grant: &EndpointGrant) -> Self {
        let giver = Endpoint::new(&format!("{name}.token"), grant);
        let realm = plain(&format!("{}{}", giver.origin, giver.base));
        Self { giver, realm, kept: Mutex::default() }
    }

    /// The token that was used last, if it still holds.
    pub(super) fn latest(&self) -> Option<HeaderValue> {
        let mut kept = self.kept();
        kept.retain(|token| token.until > Instant::now());
        Some(kept.last()?.value.clone())
    }

    /// The token that this answer asks for; none if it asks for none, or for one of elsewhere. The
    /// error is the operator's.
    pub(super) async fn answer(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, String> {
        if status != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let told = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let Some((realm, wanted)) = told.filter_map(challenge).next() else { return Ok(None) };
        if plain(&realm) != self.realm {
            return Err(format!(
                "it wants a token of {:?}, and `token.url` says {:?}",
                clean(&masked_url(&realm), 256),
                self.realm
            ));
        }
        if let Some(value) = self.keep(&wanted, None) {
            return Ok(Some(value));
        }
        let token = self.give(&wanted).await?;
        Ok(self.keep(&wanted, Some(token)))
    }

    /// Makes a token the latest: a new one, or the one that is kept. Of these, the latest cannot be
    /// what is wanted: it was refused.
    fn keep(&self, wanted: &Wanted, new: Option<Token>) -> Option<HeaderValue> {
        let mut kept = self.kept();
        let at = kept.iter().position(|token| token.wanted == *wanted);
        let refused = at.is_some_and(|at| at + 1 == kept.len());
        let old = at.map(|at| kept.remove(at)).filter(|_| !refused);
        let token = new.or(old)?;
        let value = token.value.clone();
        if kept.len() >= TOKENS {
            kept.remove(0);
        }
        kept.push(token);
        Some(value)
    }

    async fn give(&self, wanted: &Wanted) -> Result<Token, String> {
        let Wanted { service, scope } = wanted;
        let parameters = [("service", service), ("scope", scope)].into_iter();
        let parameters = parameters.filter_map(|(name, value)| {
            let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
            Some(format!("{name}={value}"))
        });
        let outgoing = Outgoing {
            method: "GET".to_owned(),
            path: format!("?{}", parameters.collect::<Vec<_>>().join("&")),
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout: None,
        };
        let asked = Instant::now();
        // What it is told is for the guests of an endpoint, and this one has none.
        let response = Box::pin(self.giver.send(outgoing)).await;
        let response = response.map_err(|_| self.giver.place.unreached_because())?;
        let status = response.status();
        let failed = |what: &str| format!("{} gave no token: {what}", self.giver.place.url);
        if !status.is_success() {
            return Err(failed(&format!("it answered {status}")));
        }
        let reading = Limited::new(response.into_body(), ANSWER).collect();
        let body = tokio::time::timeout(self.giver.timeout, reading).await;
        let body = body.map_err(|_| failed("its answer took too long"))?;
        let body = body.map_err(|error| failed(&error.to_string()))?.to_bytes();
        // What is wrong with it is not told: the token is in it.
        let given: Given =
            serde_json::from_slice(&body).map_err(|_| failed("its answer is not understood"))?;
        let token = given.token.or(given.access_token);
        let token = token.ok_or_else(|| failed("there is none in its answer"))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| failed("it contains what a header cannot carry"))?;
        value.set_sensitive(true);
        let holds = given.expires_in.map_or(USUAL, Duration::from_secs);
        let until = asked.checked_add(holds.saturating_sub(MARGIN).min(USUAL * 60));
        Ok(Token { wanted: wanted.clone(), value, until: until.unwrap_or(asked) })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The realm of a challenge for a bearer token, and what it is wanted for.
fn challenge(value: &HeaderValue) -> Option<(String, Wanted)> {
    let challenges = http_auth::parse_challenges(value.to_str().ok()?).ok()?;
    let bearer = challenges.into_iter().find(|it| it.scheme.eq_ignore_ascii_case("bearer"))?;
    let told = |name: &str| {
        let mut params = bearer.params.iter();
        let (_, value) = params.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(value.to_unescaped())
    };
    Some((told("realm")?, Wanted { service: told("service"), scope: told("scope") }))
}

/// An address without the port that its scheme means anyway, and without a slash at its end.
fn plain(url: &str) -> String {
    let url = url.trim_end_matches('/');
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if let Some(rest) = url.strip_prefix(scheme) {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let authority = authority.strip_suffix(port).unwrap_or(authority);
            return format!("{scheme}{}{path}", authority.to_ascii_lowercase());
        }
    }
    url.to_owned()
}

#[cfg(test)]
mod tests;
