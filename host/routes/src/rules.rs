//! The rules that decide which requests may wake a workload, from the request's head and the
//! client's address.
//!
//! The rules apply to wakes only: an awake workload gets every request. A request with a
//! [`LocalResponse`] is answered in place of a sleeping workload and, unless its health check
//! counts as a visit, does not keep an awake workload awake.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;

mod bots;
mod glob;

pub use glob::{AgentGlob, InvalidGlob, PathGlob};

/// The path that crawlers request first (RFC 9309).
const ROBOTS: &str = "/robots.txt";
/// The path that browsers request on their own.
const ICON: &str = "/favicon.ico";

/// The wake rules of a route, and the local responses while its workload sleeps. By default every
/// request wakes the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WakeRules {
    /// Only these paths wake; every path when empty.
    pub paths: Vec<PathGlob>,
    /// Only these methods wake, in upper case; every method when empty.
    pub methods: Vec<String>,
    /// Only clients in these networks wake; every client when empty.
    pub from: Vec<IpNet>,
    /// Clients in these networks do not wake, whatever `from` says.
    pub not_from: Vec<IpNet>,
    /// Only these user agents wake; every one when empty.
    pub agents: Vec<AgentGlob>,
    /// These user agents do not wake, whatever `user-agents` says.
    pub not_agents: Vec<AgentGlob>,
    /// Health checks that are answered in place of a sleeping workload.
    pub health_checks: Vec<HealthCheck>,
    /// The treatment of crawlers, link previews and uptime monitors.
    pub bots: Bots,
    /// The limits on the rate of wakes.
    pub limits: WakeLimits,
}

/// Matches the health checks of load balancers and monitors. At least one of `path` and `user-agent` is
/// set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The paths; every path when absent.
    pub path: Option<PathGlob>,
    /// The user agents; every one when absent.
    pub agent: Option<AgentGlob>,
    /// The status of the response while the workload sleeps.
    pub status: u16,
    /// A health check that is forwarded to the workload counts as a visit and keeps it awake.
    pub counts_as_visit: bool,
}

/// The treatment of crawlers, link previews and uptime monitors that declare themselves in their
/// user agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bots {
    /// They wake the workload like other clients.
    #[default]
    Wake,
    /// They get 503 with `Retry-After`, and keep no workload awake.
    Ignore,
}

/// Limits on the rate at which visitors may wake a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WakeLimits {
    /// The limit for all clients together.
    pub all: Option<Rate>,
    /// The limit for one client: an IPv4 address, or the /64 network of an IPv6 address.
    pub client: Option<Rate>,
}

/// A maximum count in any window of a given length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Maximum wakes in a window; at least 1.
    pub count: u32,
    /// Length of the window; not zero.
    pub per: Duration,
}

/// The attributes of a request that rules match.
#[derive(Clone, Copy, Debug)]
pub struct RequestAttributes<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it was sent, without query.
    pub path: &'a str,
    /// The `User-Agent`; empty when absent.
    pub user_agent: &'a [u8],
    /// The browser declares a navigation by a person (`Sec-Fetch-Mode: navigate`).
    pub is_navigation: bool,
}

/// The response of the router in place of a sleeping workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The status.
    pub status: u16,
    /// The response has a `Retry-After`.
    pub retry_later: bool,
    /// If the workload is awake, the forwarded request counts as a visit and keeps it awake.
    pub counts_as_visit: bool,
}

/// The attribute of a request for which the wake is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeDenied {
    /// The path.
    Path,
    /// The method.
    Method,
    /// The client's address.
    Address,
    /// The user agent.
    UserAgent,
}

// === impl WakeRules ===

impl WakeRules {
    /// No rule can deny a wake, so [`deny_wake`](Self::deny_wake) need not be called.
    pub fn allows_everyone(&self) -> bool {
        self.paths.is_empty()
            && self.methods.is_empty()
            && self.from.is_empty()
            && self.not_from.is_empty()
            && self.agents.is_empty()
            && self.not_agents.is_empty()
    }

    /// False when no request for this path has a local response, so
    /// [`local_response`](Self::local_response) need not be called.
    pub fn may_respond_locally(&self, path: &str) -> bool {
        !self.health_checks.is_empty() || self.bots == Bots::Ignore || matches!(path, ROBOTS | ICON)
    }

    /// The local response to a request, if it has one: to health checks, to the paths that browsers
    /// and crawlers request on their own, and to bots that are ignored.
    pub fn local_response(&self, request: &RequestAttributes<'_>) -> Option<LocalResponse> {
        if let Some(check) = self.health_checks.iter().find(|check| check.matches(request)) {
            let HealthCheck { status, counts_as_visit, .. } = *check;
            return Some(LocalResponse { status, retry_later: false, counts_as_visit });
        }
        let counts_as_visit = false;
        let wakes =
            request.is_navigation || self.paths.iter().any(|glob| glob.is_exactly(request.path));
        match request.path {
            // Browsers show a page without its icon.
            ICON if !wakes => {
                Some(LocalResponse { status: 404, retry_later: false, counts_as_visit })
            }
            // After 404 a crawler requests every path; after 503 it requests none until it has
            // fetched this one again (RFC 9309 §2.3.1).
            ROBOTS if !wakes => {
                Some(LocalResponse { status: 503, retry_later: true, counts_as_visit })
            }
            _ if self.bots == Bots::Ignore && bots::is_bot(request.user_agent) => {
                Some(LocalResponse { status: 503, retry_later: true, counts_as_visit })
            }
            _ => None,
        }
    }

    /// Returns whether a request of this client is denied the wake, and for which attribute.
    pub fn deny_wake(&self, request: &RequestAttributes<'_>, client: IpAddr) -> Option<WakeDenied> {
        let client = client.to_canonical();
        let contain = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
        if !self.from.is_empty() && !contain(&self.from) || contain(&self.not_from) {
            return Some(WakeDenied::Address);
        }
        let match_agent =
            |globs: &[AgentGlob]| globs.iter().any(|glob| glob.matches(request.user_agent));
        if !self.agents.is_empty() && !match_agent(&self.agents) || match_agent(&self.not_agents) {
            return Some(WakeDenied::UserAgent);
        }
        if !self.methods.is_empty() && !self.methods.iter().any(|held| held == request.method) {
            return Some(WakeDenied::Method);
        }
        if !self.paths.is_empty() && !self.paths.iter().any(|glob| glob.matches(request.path)) {
            return Some(WakeDenied::Path);
        }
        None
    }
}

// === impl HealthCheck ===

impl HealthCheck {
    fn matches(&self, request: &RequestAttributes<'_>) -> bool {
        self.path.as_ref().is_none_or(|glob| glob.matches(request.path))
            && self.agent.as_ref().is_none_or(|glob| glob.matches(request.user_agent))
            && (self.path.is_some() || self.agent.is_some())
    }
}

// === impl WakeLimits ===

impl WakeLimits {
    /// Neither limit is set.
    pub fn is_none(&self) -> bool {
        self.all.is_none() && self.client.is_none()
    }
}

// === impl WakeDenied ===

impl fmt::Display for WakeDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::Address => "address",
            Self::UserAgent => "user agent",
        })
    }
}

#[cfg(test)]
mod tests;
