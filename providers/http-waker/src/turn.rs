//! Whether somebody else asks for something of the same target at the same time.
//!
//! A control plane does what it was asked for last, and nobody tells in which order requests came to
//! it. So a call that waits in vain while another one was under way does not know whose fault that
//! is: it has met a conflict.

use std::time::Duration;

use drowse_provider_sdk::{clock, memo};

/// A call that asks for something.
pub(crate) struct Turn<'a> {
    name: &'a str,
    /// Since when it is under way, which names it.
    own: String,
    /// Another one was when it began.
    met: bool,
}

// === impl Turn ===

impl<'a> Turn<'a> {
    /// Begins. What an earlier call that was broken off has left counts for as long as that would have
    /// waited.
    pub(crate) fn begin(name: &'a str, patience: Duration) -> Self {
        let now = clock::monotonic();
        let since = memo::text(name).and_then(|text| text.parse().ok()).map(Duration::from_nanos);
        let met = since.is_some_and(|since| now.saturating_sub(since) < patience);
        let own = now.as_nanos().to_string();
        // Where it does not fit, a conflict is called a timeout.
        memo::set(name, &own);
        Self { name, own, met }
    }

    /// Somebody else has begun before its end.
    pub(crate) fn has_met_another(&self) -> bool {
        self.met || memo::text(self.name).is_some_and(|other| other != self.own)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if memo::text(self.name).as_ref() == Some(&self.own) {
            memo::delete(self.name);
        }
    }
}
