//! Headers by which a backend of the soak describes its process in every response.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Nanoseconds since the epoch. All programs of the soak use the same clock.
pub(crate) type Nanos = u64;

/// Seed of a body's content.
pub(crate) const SEED: HeaderName = HeaderName::from_static("x-seed");
/// Marks requests that the client will break off.
pub(super) const RUDE: HeaderName = HeaderName::from_static("x-rude");

const STARTED: HeaderName = HeaderName::from_static("x-started");
const READY: HeaderName = HeaderName::from_static("x-ready");
const ASKED: HeaderName = HeaderName::from_static("x-asked-before");
const ENDED: HeaderName = HeaderName::from_static("x-ended-before");
const STOPPING: HeaderName = HeaderName::from_static("x-stopping");

/// A backend process, and the end of its predecessor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessInfo {
    /// Start time.
    pub(super) started: Nanos,
    /// Time of the first answered probe.
    pub(super) ready: Nanos,
    /// End of the previous process.
    pub(super) before: Option<End>,
    /// Whether it has received SIGTERM.
    pub(super) stopping: bool,
}

/// End of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Time of SIGTERM.
    pub(super) asked: Nanos,
    /// Time of its exit.
    pub(super) ended: Nanos,
}

/// State of the gate when a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GateState {
    /// The gate was open.
    Open = 0,
    /// The gate was being closed: sent before the stop, answered by the next instance.
    Closing = 1,
    /// The backend was stopping.
    Stopping = 2,
    /// No backend was running.
    Asleep = 3,
    /// The backend was starting.
    Waking = 4,
}

pub(crate) fn now() -> Nanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

// === impl ProcessInfo ===

impl ProcessInfo {
    /// Writes the headers of a response.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(STARTED, self.started.into());
        headers.insert(READY, self.ready.into());
        if let Some(before) = self.before {
            headers.insert(ASKED, before.asked.into());
            headers.insert(ENDED, before.ended.into());
        }
        if self.stopping {
            headers.insert(STOPPING, HeaderValue::from_static("true"));
        }
    }

    /// Reads the headers of a response; none if it is not from a backend of the soak.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let nanos =
            |name: &HeaderName| -> Option<Nanos> { headers.get(name)?.to_str().ok()?.parse().ok() };
        let before = nanos(&ASKED).zip(nanos(&ENDED));
        Some(Self {
            started: nanos(&STARTED)?,
            ready: nanos(&READY)?,
            before: before.map(|(asked, ended)| End { asked, ended }),
            stopping: headers.contains_key(STOPPING),
        })
    }

    /// State of the gate at `sent`, for a request answered by this process.
    pub(super) fn gate_state(&self, sent: Nanos) -> GateState {
        match self.before {
            _ if sent >= self.ready => GateState::Open,
            _ if sent >= self.started => GateState::Waking,
            Some(End { asked, .. }) if sent < asked => GateState::Closing,
            Some(End { ended, .. }) if sent < ended => GateState::Stopping,
            _ => GateState::Asleep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessInfo = ProcessInfo {
        started: 30,
        ready: 40,
        before: Some(End { asked: 10, ended: 20 }),
        stopping: false,
    };

    #[test]
    fn headers_are_read_as_they_are_written() {
        for info in [PROCESS, ProcessInfo { before: None, stopping: true, ..PROCESS }] {
            let mut headers = HeaderMap::new();
            info.put(&mut headers);
            assert_eq!(ProcessInfo::read(&headers), Some(info));
        }
        assert_eq!(ProcessInfo::read(&HeaderMap::new()), None, "responses of the router have none");
    }

    #[test]
    fn the_state_of_the_gate_follows_from_the_send_time() {
        let states = [9, 10, 20, 30, 40].map(|sent| PROCESS.gate_state(sent));
        assert_eq!(
            states,
            [
                GateState::Closing,
                GateState::Stopping,
                GateState::Asleep,
                GateState::Waking,
                GateState::Open
            ]
        );
    }
}
