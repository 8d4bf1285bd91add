//! Who may wake a workload: decided from a request's head and the client's address alone.
//!
//! The rules say who may *wake*: once the workload is awake they keep nobody out. A request that
//! is set aside ([`WakeRules::aside`]) is answered in place of a sleeping workload and, unless its
//! probe says otherwise, keeps an awake one awake no longer.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;

mod bots;
mod glob;

pub use glob::{AgentGlob, InvalidGlob, PathGlob};

/// The page that crawlers ask for first (RFC 9309).
const ROBOTS: &str = "/robots.txt";
/// What browsers ask for by themselves.
const ICON: &str = "/favicon.ico";

/// Who may wake the workload of a route, and what is answered for it while it sleeps. The default
/// lets everybody wake it.
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
    /// What is answered in place of a sleeping workload.
    pub probes: Vec<Probe>,
    /// What crawlers, link previews and uptime monitors do.
    pub bots: Bots,
    /// How often it may be woken.
    pub limits: WakeLimits,
}

/// Requests that only look whether somebody is there. At least one of `path` and `user-agent` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which paths; every one when absent.
    pub path: Option<PathGlob>,
    /// Which user agents; every one when absent.
    pub agent: Option<AgentGlob>,
    /// What is answered while the workload sleeps.
    pub status: u16,
    /// One that is forwarded counts as a visit and keeps the workload awake.
    pub counts: bool,
}

/// What crawlers, link previews and uptime monitors that say what they are do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bots {
    /// They wake like everybody else.
    #[default]
    Wake,
    /// They are told to come back later, and keep nothing awake.
    Ignore,
}

/// How often a workload may be woken by visitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WakeLimits {
    /// By all of them together.
    pub all: Option<Rate>,
    /// By one client: an address, or the /64 network of an IPv6 address.
    pub client: Option<Rate>,
}

/// So many in any stretch of time as long as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub count: u32,
    /// More than nothing.
    pub per: Duration,
}

/// What a request's head says, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it was sent, without query.
    pub path: &'a str,
    /// The `User-Agent`, empty when there is none.
    pub agent: &'a [u8],
    /// A person's browser says that it goes to this address.
    pub navigates: bool,
}

/// How a request is treated that nobody has to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What is answered while the workload sleeps.
    pub status: u16,
    /// It is worth asking again later.
    pub later: bool,
    /// It keeps an awake workload awake, as a visit does.
    pub counts: bool,
}

/// What about a request may not wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The path.
    Path,
    /// The method.
    Method,
    /// The client's address.
    Address,
    /// The user agent.
    Agent,
}

// === impl WakeRules ===

impl WakeRules {
    /// Everybody may wake: there is no need to look at the client.
    pub fn is_open(&self) -> bool {
        self.paths.is_empty()
            && self.methods.is_empty()
            && self.from.is_empty()
            && self.not_from.is_empty()
            && self.agents.is_empty()
            && self.not_agents.is_empty()
    }

    /// False when no request for this path is ever set aside: there is no need to look further.
    pub fn may_set_aside(&self, path: &str) -> bool {
        !self.probes.is_empty() || self.bots == Bots::Ignore || matches!(path, ROBOTS | ICON)
    }

    /// How a request is treated that nobody has to be woken for, if it is one: a probe, what
    /// browsers and crawlers ask for by themselves, and bots if they are to be ignored.
    pub fn aside(&self, asked: &Asked<'_>) -> Option<Aside> {
        if let Some(probe) = self.probes.iter().find(|probe| probe.fits(asked)) {
            return Some(Aside { status: probe.status, later: false, counts: probe.counts });
        }
        let wanted = asked.navigates || self.paths.iter().any(|glob| glob.is_exactly(asked.path));
        match asked.path {
            // There is no icon now; a page without one is no worse for it.
            ICON if !wanted => Some(Aside { status: 404, later: false, counts: false }),
            // "Not found" would invite the crawler to everything, "unavailable" keeps it away
            // from everything until it has asked again (RFC 9309 §2.3.1).
            ROBOTS if !wanted => Some(Aside { status: 503, later: true, counts: false }),
            _ if self.bots == Bots::Ignore && bots::is_bot(asked.agent) => {
                Some(Aside { status: 503, later: true, counts: false })
            }
            _ => None,
        }
    }

    /// What about a request of this client may not wake, if anything.
    pub fn bars(&self, asked: &Asked<'_>, client: IpAddr) -> Option<Barred> {
        let client = client.to_canonical();
        let inside = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
        if !self.from.is_empty() && !inside(&self.from) || inside(&self.not_from) {
            return Some(Barred::Address);
        }
        let fits = |globs: &[AgentGlob]| globs.iter().any(|glob| glob.fits(asked.agent));
        if !self.agents.is_empty() && !fits(&self.agents) || fits(&self.not_agents) {
            return Some(Barred::Agent);
        }
        if !self.methods.is_empty() && !self.methods.iter().any(|held| held == asked.method) {
            return Some(Barred::Method);
        }
        if !self.paths.is_empty() && !self.paths.iter().any(|glob| glob.fits(asked.path)) {
            return Some(Barred::Path);
        }
        None
    }
}

// === impl Probe ===

impl Probe {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        self.path.as_ref().is_none_or(|glob| glob.fits(asked.path))
            && self.agent.as_ref().is_none_or(|glob| glob.fits(asked.agent))
            && (self.path.is_some() || self.agent.is_some())
    }
}

// === impl WakeLimits ===

impl WakeLimits {
    /// There is no limit.
    pub fn is_none(&self) -> bool {
        self.all.is_none() && self.client.is_none()
    }
}

// === impl Barred ===

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::Address => "address",
            Self::Agent => "user agent",
        })
    }
}

#[cfg(test)]
mod tests;
