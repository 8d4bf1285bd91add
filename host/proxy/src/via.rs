//! The `Via` header (RFC 9110 §7.6.3), which lists the proxies that a message has passed, and the
//! detection of forwarding loops by it.
//!
//! To upstreams the router's pseudonym is `drowse-` and a random number, generated when it starts,
//! so that it recognises its own entries and distinguishes them from those of other routers in
//! series. Clients see `drowse` without a number.

use std::{cell::Cell, io, time::Duration};

use http::{
    HeaderMap, HeaderValue, Version,
    header::{HeaderName, VIA},
};
use tokio::time::Instant;

/// The prefix of all routers' pseudonyms.
const PREFIX: &[u8] = b"drowse-";
/// Times that a request may have passed this router; at this number it is refused. A few are
/// legitimate: a workload can be a proxy to other workloads.
const MAX_OWN_HOPS: usize = 4;
/// Times that a request may have passed any drowse router; at this number it is refused. Detects a
/// loop of several routers, and of a router that restarts meanwhile.
const MAX_ROUTER_HOPS: usize = 16;
/// Minimum time between two warnings per thread.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

const RESPONSE: HeaderValue = HeaderValue::from_static("1.1 drowse");
const HTTP_10_RESPONSE: HeaderValue = HeaderValue::from_static("1.0 drowse");

/// The name of a router in the `Via` headers of forwarded requests.
#[derive(Clone, Debug)]
pub(crate) struct Pseudonym {
    name: String,
    request: HeaderValue,
    http_10_request: HeaderValue,
}

/// Refuses requests in a loop. One per thread.
#[derive(Debug)]
pub(crate) struct LoopGuard {
    pub(crate) pseudonym: Pseudonym,
    warned: Cell<Option<Instant>>,
}

/// The number of routers that a request has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hops {
    /// Entries of this router.
    own: usize,
    /// Entries of all drowse routers, including this one.
    all: usize,
}

/// The request has passed too many routers.
#[derive(Debug)]
pub(crate) struct ForwardingLoop {
    /// Describes the loop, for the client.
    pub(crate) detail: String,
}

// === impl Pseudonym ===

impl Pseudonym {
    /// A random pseudonym.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::numbered(u64::from_be_bytes(bytes)))
    }

    pub(crate) fn numbered(number: u64) -> Self {
        let name = format!("drowse-{number:016x}");
        let value = |version: &str| {
            HeaderValue::try_from(format!("{version} {name}")).expect("visible ASCII")
        };
        Self { request: value("1.1"), http_10_request: value("1.0"), name }
    }

    /// The `Via` entry for a request received in this version.
    pub(crate) fn of_request(&self, version: Version) -> HeaderValue {
        match version {
            Version::HTTP_10 => self.http_10_request.clone(),
            _ => self.request.clone(),
        }
    }

    /// Counts the entries, including those in comments: a proxy may have joined lines, one of which
    /// opens a comment without closing it.
    fn hops(&self, headers: &HeaderMap) -> Hops {
        let mut hops = Hops::default();
        let entries =
            headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
        for entry in entries {
            let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(by) = words.nth(1) else { continue };
            let by = by.split(|&b| b == b':' || b == b'(').next().unwrap_or_default();
            hops.own += usize::from(by.eq_ignore_ascii_case(self.name.as_bytes()));
            let prefix = by.get(..PREFIX.len());
            hops.all += usize::from(prefix.is_some_and(|it| it.eq_ignore_ascii_case(PREFIX)));
        }
        hops
    }
}

/// The `Via` entry for a response received in this version.
pub(crate) fn of_response(version: Version) -> (HeaderName, HeaderValue) {
    let is_http_10 = version < Version::HTTP_11;
    (VIA, if is_http_10 { HTTP_10_RESPONSE } else { RESPONSE })
}

// === impl LoopGuard ===

impl LoopGuard {
    pub(crate) fn new(pseudonym: Pseudonym) -> Self {
        Self { pseudonym, warned: Cell::new(None) }
    }

    /// Refuses a request that has passed too many routers. Listener and workload are logged.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        listener: &str,
        workload: &str,
    ) -> Result<(), ForwardingLoop> {
        if !headers.contains_key(VIA) {
            return Ok(());
        }
        let hops = self.pseudonym.hops(headers);
        let detail = if hops.own >= MAX_OWN_HOPS {
            format!(
                "This request has passed this router {} times already: the workload's backend sends \
                 it back here.",
                hops.own
            )
        } else if hops.all >= MAX_ROUTER_HOPS {
            format!(
                "This request has passed {} routers already: the workload's backend sends it in a \
                 loop.",
                hops.all
            )
        } else {
            return Ok(());
        };
        if self.warned.get().is_none_or(|last| last.elapsed() >= WARNING_PAUSE) {
            self.warned.set(Some(Instant::now()));
            tracing::warn!(
                listener,
                workload,
                hops = hops.own,
                routers = hops.all,
                "request refused: forwarding loop; check where the workload's backend forwards to, \
                 and the workload's target and port"
            );
        }
        Err(ForwardingLoop { detail })
    }
}

#[cfg(test)]
mod tests;
