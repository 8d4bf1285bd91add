//! What a backend of the soak says of itself in every answer.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Nanoseconds since the epoch. All programs of the soak share one clock.
pub(crate) type Nanos = u64;

/// The seed of a body.
pub(crate) const SEED: HeaderName = HeaderName::from_static("x-seed");
/// The visitor will break off: what it leaves behind is no fault.
pub(super) const RUDE: HeaderName = HeaderName::from_static("x-rude");

const STARTED: HeaderName = HeaderName::from_static("x-started");
const READY: HeaderName = HeaderName::from_static("x-ready");
const ASKED: HeaderName = HeaderName::from_static("x-asked-before");
const ENDED: HeaderName = HeaderName::from_static("x-ended-before");
const STOPPING: HeaderName = HeaderName::from_static("x-stopping");

/// One life of a backend, and the end of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// When it was started.
    pub(super) started: Nanos,
    /// When it first answered a probe.
    pub(super) ready: Nanos,
    /// The end of the life before.
    pub(super) before: Option<End>,
    /// It has been asked to stop.
    pub(super) stopping: bool,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// When it was asked to stop.
    pub(super) asked: Nanos,
    /// When it ended.
    pub(super) ended: Nanos,
}

/// What a request met on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// An open gate.
    Open = 0,
    /// A gate that was being closed: sent before the stop, answered by the next life.
    Closing = 1,
    /// A backend that was stopping.
    Stopping = 2,
    /// Nothing at all.
    Asleep = 3,
    /// A backend that was starting.
    Waking = 4,
}

pub(crate) fn now() -> Nanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Told ===

impl Told {
    /// Puts it on an answer.
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

    /// Reads it off an answer; none if no backend of the soak gave it.
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

    /// What a request that was sent at this moment, and answered by this life, met.
    pub(super) fn met(&self, sent: Nanos) -> Met {
        match self.before {
            _ if sent >= self.ready => Met::Open,
            _ if sent >= self.started => Met::Waking,
            Some(End { asked, .. }) if sent < asked => Met::Closing,
            Some(End { ended, .. }) if sent < ended => Met::Stopping,
            _ => Met::Asleep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Told = Told {
        started: 30,
        ready: 40,
        before: Some(End { asked: 10, ended: 20 }),
        stopping: false,
    };

    #[test]
    fn what_is_put_on_an_answer_is_read_off_it() {
        for told in [LIFE, Told { before: None, stopping: true, ..LIFE }] {
            let mut headers = HeaderMap::new();
            told.put(&mut headers);
            assert_eq!(Told::read(&headers), Some(told));
        }
        assert_eq!(Told::read(&HeaderMap::new()), None, "the router itself says nothing of this");
    }

    #[test]
    fn what_a_request_met_follows_from_when_it_was_sent() {
        let met = [9, 10, 20, 30, 40].map(|sent| LIFE.met(sent));
        assert_eq!(met, [Met::Closing, Met::Stopping, Met::Asleep, Met::Waking, Met::Open]);
    }
}
