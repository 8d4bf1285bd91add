//! The state of waiting visitors that all listeners and threads share, with its limits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::{Phase, Workload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    log_tail::{self, LogTails},
    signature::SigningKey,
    stream_limit::StreamLimit,
    urls::{self, PageLocation},
};
use crate::{
    page::{Theme, View},
    progress::Progress,
    settings::WaitingSettings,
};

/// Maximum time that a page waits for log lines of the provider.
const PAGE_LOG_TIMEOUT: Duration = Duration::from_millis(400);
/// Maximum time that a progress stream waits for log lines of the provider.
const STREAM_LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// The shared state of waiting visitors.
pub(crate) struct WaitingRoom {
    theme: Theme,
    /// The reserved path is served.
    live: bool,
    key: SigningKey,
    held: Arc<Semaphore>,
    stream_limit: Arc<StreamLimit>,
    log_tails: LogTails,
}

/// Permission to hold one visitor.
pub(crate) struct HoldPermit {
    _total: OwnedSemaphorePermit,
    _listener: OwnedSemaphorePermit,
}

// === impl WaitingRoom ===

impl WaitingRoom {
    pub(crate) fn new(settings: &WaitingSettings, theme: Theme) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            theme,
            live: settings.live,
            key: SigningKey::random()?,
            held: Arc::new(Semaphore::new(settings.max_held)),
            stream_limit: StreamLimit::new(settings.max_streams),
            log_tails: LogTails::new(settings.logs),
        }))
    }

    pub(crate) fn theme(&self) -> &Theme {
        &self.theme
    }

    /// Returns whether pages get progress on the reserved path.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn stream_limit(&self) -> &Arc<StreamLimit> {
        &self.stream_limit
    }

    /// A permit to hold one more visitor of a listener. None if the limit of the listener or the
    /// common limit is reached.
    pub(crate) fn hold(&self, listener: &Arc<Semaphore>) -> Option<HoldPermit> {
        Some(HoldPermit {
            _listener: listener.clone().try_acquire_owned().ok()?,
            _total: self.held.clone().try_acquire_owned().ok()?,
        })
    }

    /// The waiting page for a route of this listener and host, and its `Retry-After` in seconds.
    pub(crate) async fn page(
        &self,
        workload: &Arc<Workload>,
        location: &PageLocation<'_>,
    ) -> (Bytes, u64) {
        let progress = Progress::of(workload, self.log_tail(workload).await);
        let live = self.live.then(|| urls::sign(&self.key, location));
        let view = View::new(&progress, live);
        (self.theme.render(&view), view.retry_after)
    }

    /// The last log lines of a workload whose wake is under way or has failed.
    pub(super) async fn log_tail(&self, workload: &Arc<Workload>) -> Arc<[String]> {
        if self.shows_log_tail(workload) {
            self.log_tails.fetch(workload, PAGE_LOG_TIMEOUT).await
        } else {
            Arc::default()
        }
    }

    /// The log lines that were fetched last, without asking the provider.
    pub(super) fn cached_log_tail(&self, workload: &Workload) -> Arc<[String]> {
        match self.shows_log_tail(workload) {
            true => self.log_tails.cached(workload.name()),
            false => Arc::default(),
        }
    }

    /// Fetches the log lines again when the cached ones have expired.
    pub(super) async fn refresh_log_tail(&self, workload: &Arc<Workload>) {
        tokio::time::sleep(log_tail::TTL).await;
        self.log_tails.fetch(workload, STREAM_LOG_TIMEOUT).await;
    }

    pub(super) fn shows_log_tail(&self, workload: &Workload) -> bool {
        let phase = workload.snapshot().phase;
        self.log_tails.is_enabled() && matches!(phase, Phase::Waking | Phase::Failed)
    }
}
