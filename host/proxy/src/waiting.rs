//! What visitors get while they wait, and what that may cost.
//!
//! A visitor at a closed gate is held, or gets a page that follows the wake. Pages learn of
//! progress from one [`Feed`] per workload and thread, which looks at the workload when something
//! about it changes, says it once and lets every stream repeat it; see [`live`]. Nobody who only
//! looks wakes anything or keeps it awake.

use std::{sync::Arc, time::Duration};

use drowse_core::{Phase, Workload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    page::{Theme, View},
    settings::WaitingSettings,
};

mod feed;
mod follower;
mod hold;
mod key;
pub(crate) mod live;
mod logs;
mod progress;
mod samples;
mod streams;

pub(crate) use feed::Feeds;
pub(crate) use hold::Visitor;
pub(crate) use progress::{Outlook, Progress, Queue, cause, explain, stage};
pub(crate) use samples::samples;

use key::Key;
use logs::Tails;
use streams::Streams;

/// A page is not held up longer by a provider that looks for log lines.
const PAGE_PATIENCE: Duration = Duration::from_millis(400);
/// Who follows has more time.
const FEED_PATIENCE: Duration = Duration::from_secs(5);

/// What the waiting visitors of all listeners and threads share.
pub(crate) struct Lobby {
    theme: Theme,
    /// The reserved path is served.
    live: bool,
    key: Key,
    held: Arc<Semaphore>,
    streams: Arc<Streams>,
    tails: Tails,
}

/// One held visitor's place.
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_listener: OwnedSemaphorePermit,
}

// === impl Lobby ===

impl Lobby {
    pub(crate) fn new(settings: &WaitingSettings, theme: Theme) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            theme,
            live: settings.live,
            key: Key::random()?,
            held: Arc::new(Semaphore::new(settings.held)),
            streams: Streams::new(settings.streams),
            tails: Tails::new(settings.logs),
        }))
    }

    /// A place for one more held visitor of a listener, if both have one.
    pub(crate) fn hold(&self, listener: &Arc<Semaphore>) -> Option<Place> {
        Some(Place {
            _of_listener: listener.clone().try_acquire_owned().ok()?,
            _of_all: self.held.clone().try_acquire_owned().ok()?,
        })
    }

    /// The page for somebody who waits for this workload, on a route of this listener and host,
    /// and after how many seconds it is worth loading again.
    pub(crate) async fn page(
        &self,
        workload: &Arc<Workload>,
        spot: &live::Spot<'_>,
    ) -> (bytes::Bytes, u64) {
        let progress = Progress::of(workload, self.tail(workload).await);
        let live = self.live.then(|| live::addresses(&self.key, spot));
        let view = View::new(&progress, live);
        (self.theme.render(&view), view.again)
    }

    pub(crate) fn theme(&self) -> &Theme {
        &self.theme
    }

    /// The last log lines of a workload that is being woken or was not woken.
    async fn tail(&self, workload: &Arc<Workload>) -> Arc<[String]> {
        if self.shows_tail(workload) {
            self.tails.of(workload, PAGE_PATIENCE).await
        } else {
            Arc::default()
        }
    }

    /// Those that are known already.
    fn known_tail(&self, workload: &Workload) -> Arc<[String]> {
        if self.shows_tail(workload) { self.tails.last(workload.name()) } else { Arc::default() }
    }

    /// Asks for them again, in a while.
    async fn renew_tail(&self, workload: &Arc<Workload>) {
        tokio::time::sleep(logs::FRESH).await;
        self.tails.of(workload, FEED_PATIENCE).await;
    }

    fn shows_tail(&self, workload: &Workload) -> bool {
        let phase = workload.snapshot().phase;
        self.tails.shown() && matches!(phase, Phase::Waking | Phase::Failed)
    }
}
