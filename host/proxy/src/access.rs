//! Access control in front of the gate: authentication, the wake policy and the rate limit.
//!
//! The order is fixed for every path but the reserved one, whose addresses are signed:
//!
//! 1. A route with an `auth` authenticates the request, whether the workload is awake or asleep.
//! 2. An open gate lets the request pass. The wake policy does not apply.
//! 3. At a closed gate, the [`WakePolicy`] decides: a request with a local response is answered
//!    without waking, a request that is denied the wake gets 403, a request over the rate limit
//!    gets 429 with `Retry-After`, and every other request wakes the workload.
//!
//! During a wake, a request that is denied the wake or over the limit waits for it like others.

use std::{io, sync::Arc};

mod auth;
mod client_address;
mod identity;
mod rate_limit;
mod wake_policy;

use auth::Authenticators;
use rate_limit::WakeRateLimiter;

pub use auth::check_users;
pub(crate) use auth::{ForwardAuthClient, authenticate};
pub(crate) use client_address::{client_address, client_network};
pub(crate) use identity::{Identity, strip_identity_headers, strip_trailers};
pub(crate) use wake_policy::{ClosedGateAction, Denied, WakePolicy};

/// Access state that all threads share.
pub(crate) struct AccessControl {
    authenticators: Authenticators,
    rate_limiter: WakeRateLimiter,
}

// === impl AccessControl ===

impl AccessControl {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            authenticators: Authenticators::new()?,
            rate_limiter: WakeRateLimiter::default(),
        }))
    }

    pub(crate) fn authenticators(&self) -> &Authenticators {
        &self.authenticators
    }

    pub(crate) fn rate_limiter(&self) -> &WakeRateLimiter {
        &self.rate_limiter
    }
}
