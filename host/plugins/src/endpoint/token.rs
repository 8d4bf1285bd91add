//! Bearer tokens of an endpoint, issued by a token server, as image registries use them.
//!
//! The endpoint responds 401 with a realm, a service and a scope (RFC 6750; the token
//! authentication of the OCI distribution specification). If the realm is the granted token server,
//! a token is requested from it, cached until it expires, and sent with further requests. The guest
//! sees neither the token nor the credentials for it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Endpoint, OutgoingRequest};
use crate::{grants::masked_url, settings::EndpointGrant, text::sanitize};

/// Maximum cached tokens: one per repository in use.
const TOKENS: usize = 16;
/// Maximum bytes of the token server's response.
const ANSWER: usize = 64 << 10;
/// Lifetime of a token without `expires_in`.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Time before its expiry when a token is no longer used.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);

/// The tokens of one endpoint.
pub(super) struct Tokens {
    token_server: Endpoint,
    /// URL of the token server, as challenges name it.
    realm: String,
    /// Most recently used last.
    cached: Mutex<Vec<Token>>,
}

struct Token {
    scope: TokenScope,
    value: HeaderValue,
    until: Instant,
}

/// Service and scope that a token is issued for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TokenScope {
    service: Option<String>,
    scope: Option<String>,
}

/// Response of the token server.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(name: &str, grant: &EndpointGrant) -> Self {
        let token_server = Endpoint::new(&format!("{name}.token"), grant);
        let realm = normalized(&format!("{}{}", token_server.origin, token_server.base));
        Self { token_server, realm, cached: Mutex::default() }
    }

    /// The most recently used token, if it is still valid.
    pub(super) fn latest(&self) -> Option<HeaderValue> {
        let mut cached = self.cached();
        cached.retain(|token| token.until > Instant::now());
        Some(cached.last()?.value.clone())
    }

    /// The token that a response asks for; none if it asks for none. The error is for the operator.
    pub(super) async fn for_response(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, String> {
        if status != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let Some((realm, scope)) = challenges.filter_map(challenge).next() else { return Ok(None) };
        if normalized(&realm) != self.realm {
            return Err(format!(
                "it asks for a token of {:?}, and `token.url` is {:?}",
                sanitize(&masked_url(&realm), 256),
                self.realm
            ));
        }
        if let Some(value) = self.use_token(&scope, None) {
            return Ok(Some(value));
        }
        let token = self.fetch(&scope).await?;
        Ok(self.use_token(&scope, Some(token)))
    }

    /// Makes a token the most recently used: a new one, or the cached one for this scope. The most
    /// recently used one is not taken from the cache: it was just refused.
    fn use_token(&self, scope: &TokenScope, new: Option<Token>) -> Option<HeaderValue> {
        let mut cached = self.cached();
        let at = cached.iter().position(|token| token.scope == *scope);
        let refused = at.is_some_and(|at| at + 1 == cached.len());
        let old = at.map(|at| cached.remove(at)).filter(|_| !refused);
        let token = new.or(old)?;
        let value = token.value.clone();
        if cached.len() >= TOKENS {
            cached.remove(0);
        }
        cached.push(token);
        Some(value)
    }

    async fn fetch(&self, scope: &TokenScope) -> Result<Token, String> {
        let TokenScope { service, scope: name } = scope;
        let parameters = [("service", service), ("scope", name)].into_iter();
        let parameters = parameters.filter_map(|(name, value)| {
            let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
            Some(format!("{name}={value}"))
        });
        let outgoing = OutgoingRequest {
            method: "GET".to_owned(),
            path: format!("?{}", parameters.collect::<Vec<_>>().join("&")),
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout: None,
        };
        let requested_at = Instant::now();
        // The error is replaced: its message is for guests, which do not use the token server.
        let response = Box::pin(self.token_server.send(outgoing)).await;
        let response = response.map_err(|_| self.token_server.label.unreached_because())?;
        let status = response.status();
        let failed =
            |what: &str| format!("{} issued no token: {what}", self.token_server.label.url);
        if !status.is_success() {
            return Err(failed(&format!("it responded {status}")));
        }
        let reading = Limited::new(response.into_body(), ANSWER).collect();
        let body = tokio::time::timeout(self.token_server.timeout, reading).await;
        let body = body.map_err(|_| failed("its response took too long"))?;
        let body = body.map_err(|error| failed(&error.to_string()))?.to_bytes();
        // The parse error is not shown: it may contain the token.
        let response: TokenResponse = serde_json::from_slice(&body)
            .map_err(|_| failed("its response is not a token response"))?;
        let token = response.token.or(response.access_token);
        let token = token.ok_or_else(|| failed("its response contains no token"))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| failed("it contains characters that a header cannot carry"))?;
        value.set_sensitive(true);
        let holds = response.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
        let until = requested_at
            .checked_add(holds.saturating_sub(EXPIRY_MARGIN).min(DEFAULT_LIFETIME * 60));
        Ok(Token { scope: scope.clone(), value, until: until.unwrap_or(requested_at) })
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Vec<Token>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Realm and scope of a bearer challenge.
fn challenge(value: &HeaderValue) -> Option<(String, TokenScope)> {
    let challenges = http_auth::parse_challenges(value.to_str().ok()?).ok()?;
    let bearer = challenges.into_iter().find(|it| it.scheme.eq_ignore_ascii_case("bearer"))?;
    let parameter = |name: &str| {
        let mut params = bearer.params.iter();
        let (_, value) = params.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(value.to_unescaped())
    };
    Some((
        parameter("realm")?,
        TokenScope { service: parameter("service"), scope: parameter("scope") },
    ))
}

/// A URL in lower case without the scheme's default port and without a trailing slash.
fn normalized(url: &str) -> String {
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
