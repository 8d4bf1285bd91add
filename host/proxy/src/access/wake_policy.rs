//! The wake policy: what a request may do at its workload's gate.

use std::{net::IpAddr, sync::Arc};

use super::rate_limit::{LimitExceeded, WakeRateLimiter};
use drowse_core::{Visit, Workload};
use drowse_routes::{
    Entry, Route,
    rules::{LocalResponse, RequestAttributes, WakeDenied},
};

/// A request's classification before the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WakePolicy {
    /// The request may wake the workload.
    MayWake {
        /// The client to charge, where a rate limit counts wakes.
        charged: Option<IpAddr>,
    },
    /// At a closed gate the router responds in the workload's place and wakes nothing.
    LocalResponse(LocalResponse),
    /// The request may enter an open gate and may not wake.
    WakeDenied(WakeDenied),
}

/// The rights of a request at a closed gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedGateAction {
    /// Wake the workload.
    Wake,
    /// Wait for a wake that another request began.
    Join,
}

/// Why a request may neither wake the workload nor wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denied {
    /// The router responds in the workload's place.
    Locally(LocalResponse),
    /// The policy denies the wake, and no other request has begun one.
    Wake(WakeDenied),
    /// The workload has been woken too often.
    RateLimit(LimitExceeded),
}

// === impl WakePolicy ===

impl WakePolicy {
    /// Classifies a request. `attributes` and `client` are called only where a rule needs the
    /// request's attributes, or the client's address.
    pub(crate) fn classify<'a>(
        route: &Route,
        path: &str,
        attributes: impl FnOnce() -> RequestAttributes<'a>,
        client: impl Fn() -> IpAddr,
    ) -> Self {
        let rules = &route.wake;
        if rules.may_respond_locally(path) || !rules.allows_everyone() {
            let request = attributes();
            if let Some(response) = rules.local_response(&request) {
                return Self::LocalResponse(response);
            }
            if let Some(denied) = rules.deny_wake(&request, client()) {
                return Self::WakeDenied(denied);
            }
        }
        Self::MayWake { charged: (!rules.limits.is_none()).then(client) }
    }

    /// Enters the gate if it is open.
    pub(crate) fn enter(&self, workload: &Arc<Workload>) -> Option<Visit> {
        match self {
            Self::LocalResponse(LocalResponse { counts_as_visit: false, .. }) => {
                workload.enter_untracked()
            }
            _ => workload.enter(),
        }
    }

    /// Decides at a closed gate. Where a rate limit counts wakes, a permitted wake is charged, and
    /// begun by calling `wake`.
    pub(crate) fn at_closed_gate(
        &self,
        rate_limiter: &WakeRateLimiter,
        entry: &Entry<Arc<Workload>>,
        wake: impl FnOnce(),
    ) -> Result<ClosedGateAction, Denied> {
        let workload = &entry.value;
        match self {
            Self::LocalResponse(response) => Err(Denied::Locally(*response)),
            Self::WakeDenied(_) if workload.snapshot().is_coming() => Ok(ClosedGateAction::Join),
            Self::WakeDenied(denied) => Err(Denied::Wake(*denied)),
            Self::MayWake { charged: None } => Ok(ClosedGateAction::Wake),
            Self::MayWake { charged: Some(client) } => {
                let limits = &entry.route.wake.limits;
                let charged = rate_limiter.charge(workload, limits, *client, wake);
                charged.map(|()| ClosedGateAction::Join).map_err(Denied::RateLimit)
            }
        }
    }
}
