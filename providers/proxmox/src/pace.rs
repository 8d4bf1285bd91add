//! How often something is looked at that is about to change: often at first, then less.

use std::time::Duration;

use drowse_provider_sdk::{clock, clock::Deadline};

use crate::settings::Settings;

/// The first pause; each is half as long again as the one before.
const FIRST: Duration = Duration::from_millis(50);

/// The pauses between looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    next: Duration,
    most: Duration,
}

// === impl Pace ===

impl Pace {
    /// From the beginning.
    pub(crate) fn new(settings: &Settings) -> Self {
        let most = settings.poll.0;
        Self { next: FIRST.min(most), most }
    }

    /// Waits for the next look. False, at once, when the deadline has passed.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> bool {
        let Some(left) = deadline.left() else { return false };
        clock::sleep(self.next.min(left));
        self.next = (self.next * 3 / 2).min(self.most);
        true
    }
}
