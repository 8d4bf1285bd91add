//! The `Via` header (RFC 9110 §7.6.3): it tells each hop which proxies a message has passed, and
//! by it a request is found that comes back to the router without end.
//!
//! To upstreams the router calls itself `drowse-` and a number of its own, drawn when it starts, so
//! that it finds itself again behind any other proxy and is not taken for another router in
//! series. Clients are told `drowse` alone.

use std::{cell::Cell, io, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{HeaderName, VIA},
};
use tokio::time::Instant;

use crate::answer::Problem;

/// What the pseudonyms of all routers begin with.
const FAMILY: &[u8] = b"drowse-";
/// A request that has passed this router so often is refused. It may come back a few times: a
/// workload can be a proxy itself that leads to other workloads.
const OWN_HOPS: usize = 4;
/// A request that has passed routers of this kind so often is refused: several that send it round
/// in a circle, or one that is restarted meanwhile.
const FAMILY_HOPS: usize = 16;
/// Minimum time between two warnings of one thread.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

const RESPONSE: HeaderValue = HeaderValue::from_static("1.1 drowse");
const OLD_RESPONSE: HeaderValue = HeaderValue::from_static("1.0 drowse");

/// How a router calls itself on the messages that it forwards.
#[derive(Clone, Debug)]
pub(crate) struct Pseudonym {
    name: String,
    request: HeaderValue,
    old_request: HeaderValue,
}

/// One thread's view of loops.
#[derive(Debug)]
pub(crate) struct LoopGuard {
    pub(crate) pseudonym: Pseudonym,
    warned: Cell<Option<Instant>>,
}

/// How often a request has passed routers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hops {
    /// This one.
    own: usize,
    /// Of this kind, this one included.
    family: usize,
}

// === impl Pseudonym ===

impl Pseudonym {
    /// One that no other router has.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::numbered(u64::from_be_bytes(bytes)))
    }

    pub(crate) fn numbered(number: u64) -> Self {
        let name = format!("drowse-{number:016x}");
        let value = |version: &str| {
            HeaderValue::try_from(format!("{version} {name}")).expect("letters, digits and a dash")
        };
        Self { request: value("1.1"), old_request: value("1.0"), name }
    }

    /// The entry for a request that was received in this version.
    pub(crate) fn of_request(&self, version: Version) -> HeaderValue {
        match version {
            Version::HTTP_10 => self.old_request.clone(),
            _ => self.request.clone(),
        }
    }

    /// Counts the entries. What stands in comments counts as well: a proxy may have joined lines of
    /// which one opens a comment and never closes it.
    fn hops(&self, headers: &HeaderMap) -> Hops {
        let mut hops = Hops::default();
        let entries =
            headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
        for entry in entries {
            let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(by) = words.nth(1) else { continue };
            let by = by.split(|&b| b == b':' || b == b'(').next().unwrap_or_default();
            hops.own += usize::from(by.eq_ignore_ascii_case(self.name.as_bytes()));
            let family = by.get(..FAMILY.len());
            hops.family += usize::from(family.is_some_and(|it| it.eq_ignore_ascii_case(FAMILY)));
        }
        hops
    }
}

/// The entry for a response that was received in this version.
pub(crate) fn of_response(version: Version) -> (HeaderName, HeaderValue) {
    let old = version < Version::HTTP_11;
    (VIA, if old { OLD_RESPONSE } else { RESPONSE })
}

// === impl LoopGuard ===

impl LoopGuard {
    pub(crate) fn new(pseudonym: Pseudonym) -> Self {
        Self { pseudonym, warned: Cell::new(None) }
    }

    /// Refuses a request that has passed too many routers already. `workload` is where it is going
    /// this time.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        listener: &str,
        workload: &str,
    ) -> Result<(), Box<Problem>> {
        if !headers.contains_key(VIA) {
            return Ok(());
        }
        let hops = self.pseudonym.hops(headers);
        let detail = if hops.own >= OWN_HOPS {
            format!(
                "This request has passed this router {} times already: what answers for the \
                 workload sends it back here.",
                hops.own
            )
        } else if hops.family >= FAMILY_HOPS {
            format!(
                "This request has passed {} routers already: what answers for the workload sends it \
                 round in a circle.",
                hops.family
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
                routers = hops.family,
                "request refused: it goes round in a loop; look at where the workload's backend \
                 forwards to, and at its target and port"
            );
        }
        Err(Box::new(Problem::new(StatusCode::LOOP_DETECTED, detail).code("loop")))
    }
}

#[cfg(test)]
mod tests;
