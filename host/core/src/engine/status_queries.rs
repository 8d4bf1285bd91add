//! Status queries to the provider: which were answered, and whether an instance must be confirmed
//! before a connection is made to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{Instance, Workload, uptime::Uptime};
use crate::{
    names::Phase,
    provider::{Failure, Observation, Status},
    step::{Input, Priority, State},
};

/// Maximum time that a visitor waits for a confirmation.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// Maximum time of a status call.
pub(super) const STATUS: Duration = Duration::from_secs(30);

/// Whether the provider still reports an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The instance is still there.
    Confirmed,
    /// No new request may be sent to the instance.
    Closed,
    /// The provider has not answered in time.
    Unanswered,
}

/// The status queries of one workload. Queries are numbered by the phase machine's tickets, in
/// the order in which they are sent.
pub(super) struct StatusQueries {
    /// The last query that ended, with an observation or a failure.
    ended: watch::Sender<u64>,
    /// The last query that was answered with an observation.
    observed: AtomicU64,
    /// No connection is made before this query or a later one is answered; 0 when no confirmation
    /// is required.
    required: AtomicU64,
    /// Confirmations that are required by a query that has no number yet.
    unnumbered: AtomicUsize,
    /// When the workload was last polled, in [`Uptime::milliseconds`].
    last_polled: AtomicU64,
    /// The last query failed, and that was logged.
    failing: AtomicBool,
}

// === impl StatusQueries ===

impl StatusQueries {
    pub(super) fn new() -> Self {
        Self {
            ended: watch::Sender::new(0),
            observed: AtomicU64::new(0),
            required: AtomicU64::new(0),
            unnumbered: AtomicUsize::new(0),
            last_polled: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// The provider answered query or operation `ticket` with what the workload is.
    pub(super) fn observed(&self, ticket: u64) {
        self.observed.fetch_max(ticket, Ordering::AcqRel);
        // A later query, which may be sent at this moment, is not answered by this.
        let answered = |required| (required != 0 && required <= ticket).then_some(0);
        let _ = self.required.fetch_update(Ordering::AcqRel, Ordering::Acquire, answered);
    }

    /// Query `ticket` has ended, and its result was taken.
    pub(super) fn ended(&self, ticket: u64) {
        self.ended.send_modify(|ended| *ended = ticket.max(*ended));
    }

    fn is_observed(&self, ticket: u64) -> bool {
        self.observed.load(Ordering::Acquire) >= ticket
    }

    fn require(&self, ticket: u64) {
        self.required.store(ticket, Ordering::Release);
    }

    fn is_required(&self) -> bool {
        // In this order: a requirement gets its number before it leaves the unnumbered ones.
        self.unnumbered.load(Ordering::Acquire) != 0 || self.required.load(Ordering::Acquire) != 0
    }

    /// Waits until query `ticket` has ended, at most for `limit`.
    async fn wait_for(&self, ticket: u64, limit: Duration) {
        let mut ended = self.ended.subscribe();
        // A timeout shows in what was observed.
        let _ = timeout(limit, ended.wait_for(|ended| *ended >= ticket)).await;
    }

    fn record_poll(&self, uptime: Uptime) {
        self.last_polled.store(uptime.milliseconds(), Ordering::Relaxed);
    }

    fn since_last_poll(&self, uptime: Uptime) -> Duration {
        uptime.since(self.last_polled.load(Ordering::Relaxed))
    }

    /// Records a failed query; returns whether it is the first one since the last success.
    fn failed(&self) -> bool {
        !self.failing.swap(true, Ordering::Relaxed)
    }

    fn succeeded(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }
}

/// A required confirmation whose query has no number yet. Counted until it is dropped, also when
/// its task panics or never runs.
struct Unnumbered(Arc<Workload>);

// === impl Unnumbered ===

impl Unnumbered {
    fn new(workload: Arc<Workload>) -> Self {
        workload.queries.unnumbered.fetch_add(1, Ordering::AcqRel);
        Self(workload)
    }
}

impl Drop for Unnumbered {
    fn drop(&mut self) {
        self.0.queries.unnumbered.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Workload ===

impl Workload {
    /// Asks the provider whether the instance is still there, and returns its answer, or
    /// [`Confirmation::Unanswered`] after 5 s. Concurrent calls lead to one query, or to one more
    /// when a query is in flight already.
    pub async fn confirm(self: &Arc<Self>, instance: &Instance) -> Confirmation {
        let generation = instance.generation();
        let query = self.on_engine(move |workload| {
            let is_ready =
                |state: &State| state.phase() == Phase::Ready && state.generation() == generation;
            workload.apply_then(is_ready, Input::Suspected(generation), State::next_query)
        });
        let deadline = Instant::now() + CONFIRMATION;
        let query = match timeout_at(deadline, query).await {
            Ok(Some(Some(query))) => query,
            Ok(Some(None)) => return Confirmation::Closed,
            Ok(None) | Err(_) => return Confirmation::Unanswered,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            () = instance.closed() => return Confirmation::Closed,
            () = self.queries.wait_for(query, left) => {}
        }
        match self.queries.is_observed(query) {
            _ if !instance.is_open() => Confirmation::Closed,
            true => Confirmation::Confirmed,
            false => Confirmation::Unanswered,
        }
    }

    /// Refuses connections to the workload until the provider, which is queried now, has answered:
    /// another workload may have been given its address. Returns at once.
    pub fn require_confirmation(self: &Arc<Self>) {
        let unnumbered = Unnumbered::new(self.clone());
        self.spawn(async move { unnumbered.0.query_for_confirmation() });
    }

    /// As [`Workload::require_confirmation`], on the calling thread.
    pub(super) fn query_for_confirmation(self: &Arc<Self>) {
        let require = |state: &State| self.queries.require(state.next_query());
        self.apply_then(|_| true, Input::QueryStatus(Priority::Urgent), require);
    }

    /// Returns whether no connection may be made before [`Workload::confirm`] has returned
    /// [`Confirmation::Confirmed`].
    pub fn is_unconfirmed(&self) -> bool {
        self.queries.is_required()
    }

    /// Waits until the first query that reflects everything so far has ended, if one is in flight
    /// or due; at most for `limit`.
    pub(super) async fn await_status(&self, limit: Duration) {
        if let Some(due) = self.state().pending_query() {
            self.queries.wait_for(due, limit).await;
        }
    }

    pub(super) fn since_last_poll(&self) -> Duration {
        self.queries.since_last_poll(self.shared.uptime)
    }

    /// Queries the status as part of the regular polling.
    pub(super) fn poll(self: &Arc<Self>) {
        self.queries.record_poll(self.shared.uptime);
        // A query in flight serves as well.
        let idle = |state: &State| state.pending_query().is_none();
        self.apply_if(idle, Input::QueryStatus(Priority::Routine));
    }

    /// Queries the status and passes on which service the target is.
    pub(super) async fn query_status(&self) -> Result<Observation, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let result = self.within(STATUS, "status of", provider.status(&self.spec.target)).await;
        match &result {
            Ok(seen) => {
                self.queries.succeeded();
                // A missing target has no labels, so its service is unknown rather than none.
                if seen.status != Status::Missing {
                    self.shared.discover(self, provider.service(seen));
                }
            }
            // The query is repeated until it succeeds; one warning is enough.
            Err(failure) if self.queries.failed() => tracing::warn!(
                workload = %self.spec.name, provider = %self.spec.provider, operation = "status",
                code = %failure.code, error = failure.message, "operation failed"
            ),
            Err(failure) => tracing::debug!(
                workload = %self.spec.name, provider = %self.spec.provider, operation = "status",
                code = %failure.code, error = failure.message, "operation failed again"
            ),
        }
        result
    }
}
