//! Pauses between queries while a guest or task changes: short at first, then longer.

use std::time::Duration;

use drowse_provider_sdk::{clock, clock::Deadline};

use crate::settings::Settings;

/// First pause; each pause is 1.5 times the previous one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Growing pauses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Starts with the first pause.
    pub(crate) fn new(settings: &Settings) -> Self {
        let longest = settings.poll.0;
        Self { next: FIRST_PAUSE.min(longest), longest }
    }

    /// Waits for the next pause. False, without waiting, if the deadline has passed.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> bool {
        let Some(left) = deadline.left() else { return false };
        clock::sleep(self.next.min(left));
        self.next = (self.next * 3 / 2).min(self.longest);
        true
    }
}
