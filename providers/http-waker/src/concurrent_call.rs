//! Detects concurrent calls that change the same target.
//!
//! A control plane obeys the last request, and the order of concurrent requests is unknown. A call
//! that times out while another one was running therefore answers conflict.

use std::time::Duration;

use drowse_provider_sdk::{clock, memo};

/// A call that changes a target.
pub(crate) struct ConcurrentCall<'a> {
    name: &'a str,
    /// Start time, which identifies the call.
    own: String,
    /// The start time is stored in the cache; if it is full, a conflict is reported as a timeout.
    stored: bool,
    /// Another call was running when this one began.
    found_other: bool,
}

// === impl ConcurrentCall ===

impl<'a> ConcurrentCall<'a> {
    /// Begins a call. The entry of a cancelled call counts until its timeout.
    pub(crate) fn begin(name: &'a str, timeout: Duration) -> Self {
        let now = clock::monotonic();
        let since = memo::text(name).and_then(|text| text.parse().ok()).map(Duration::from_nanos);
        let found_other = since.is_some_and(|since| now.saturating_sub(since) < timeout);
        let own = now.as_nanos().to_string();
        let stored = memo::set(name, &own);
        Self { name, own, stored, found_other }
    }

    /// Returns whether another call ran meanwhile, even if it has ended.
    pub(crate) fn has_conflict(&self) -> bool {
        self.found_other || self.stored && !self.is_last()
    }

    fn is_last(&self) -> bool {
        memo::text(self.name).as_ref() == Some(&self.own)
    }
}

impl Drop for ConcurrentCall<'_> {
    fn drop(&mut self) {
        if self.is_last() {
            memo::delete(self.name);
        }
    }
}
