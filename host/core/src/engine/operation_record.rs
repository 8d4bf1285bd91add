//! What is told of an operation: to the journal, and to whoever asks how long a wake takes.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::Workload;
use crate::{
    journal::{Cause, Correlation, Entry, OperationKind},
    names::Generation,
    provider::{ErrorCode, Failure, Observation},
};

/// So many wakes tell how long the next one takes.
const REMEMBERED: usize = 9;

/// An operation that has begun.
pub(super) struct OperationRecord {
    pub(super) correlation: Correlation,
    pub(super) cause: Cause,
    generation: Generation,
    kind: OperationKind,
    /// The platform's identity of the target when it began.
    before: Option<String>,
    began: SystemTime,
    clock: Instant,
}

/// A provider call that is told to the journal however it ends, even if nobody waits for its
/// answer any more.
pub(super) struct CallRecord {
    story: OperationRecord,
    workload: Arc<Workload>,
    ended: bool,
}

/// How long the last wakes took.
#[derive(Default)]
pub(super) struct Wakes(VecDeque<Duration>);

// === impl OperationRecord ===

impl OperationRecord {
    pub(super) fn begin(
        kind: OperationKind,
        cause: &Arc<Cause>,
        generation: Generation,
        workload: &Workload,
    ) -> Self {
        let correlation = cause.correlation.unwrap_or_else(Correlation::random);
        Self {
            correlation,
            cause: (**cause).clone().with_correlation(correlation),
            generation,
            kind,
            before: workload.native_id(),
            began: (workload.shared.clock)(),
            clock: Instant::now(),
        }
    }

    /// A provider call within this story.
    pub(super) fn chapter(&self, kind: OperationKind, workload: &Arc<Workload>) -> CallRecord {
        let story = Self {
            correlation: self.correlation,
            cause: self.cause.clone(),
            generation: self.generation,
            kind,
            before: workload.native_id(),
            began: (workload.shared.clock)(),
            clock: Instant::now(),
        };
        CallRecord { story, workload: workload.clone(), ended: false }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

// === impl CallRecord ===

impl CallRecord {
    /// A provider call that is no part of what the workload does at the moment.
    pub(super) fn alone(kind: OperationKind, cause: &Arc<Cause>, workload: &Arc<Workload>) -> Self {
        let story = OperationRecord::begin(kind, cause, workload.snapshot().generation, workload);
        Self { story, workload: workload.clone(), ended: false }
    }

    /// The provider has answered, perhaps with what it saw.
    pub(super) fn end(mut self, result: Result<Option<&Observation>, &Failure>) {
        self.ended = true;
        let (story, workload) = (&self.story, &self.workload);
        workload.record(story, result.ok().flatten(), result.err().cloned());
        let spec = workload.spec();
        let milliseconds = u64::try_from(story.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (operation, correlation) = (story.kind, story.correlation);
        match result {
            Ok(seen) => tracing::info!(
                workload = %spec.name, provider = %spec.provider, %operation, %correlation,
                milliseconds, status = seen.map(|seen| &*seen.native_status), "operation done"
            ),
            Err(failure) => tracing::warn!(
                workload = %spec.name, provider = %spec.provider, %operation, %correlation,
                milliseconds, code = %failure.code, error = failure.message, "operation failed"
            ),
        }
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        if !self.ended {
            let why = "it was given up before the provider had answered";
            let failure = Failure::new(ErrorCode::Timeout, why);
            self.workload.record(&self.story, None, Some(failure));
        }
    }
}

// === impl Wakes ===

impl Wakes {
    pub(super) fn learn(&mut self, story: &OperationRecord, well: bool) {
        if story.kind == OperationKind::Wake && well {
            self.0.truncate(REMEMBERED - 1);
            self.0.push_front(story.elapsed());
        }
    }

    /// The median.
    pub(super) fn expected(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

// === impl Workload ===

impl Workload {
    /// The platform's identity of the life that was entered last.
    fn native_id(&self) -> Option<String> {
        self.instance.load().as_ref().and_then(|it| it.observation().native_id.clone())
    }

    /// The journal takes it: it has ended, and this was seen of it.
    pub(super) fn record(
        &self,
        story: &OperationRecord,
        seen: Option<&Observation>,
        failure: Option<Failure>,
    ) {
        let image = seen.and_then(|seen| seen.attributes.get("image").cloned());
        self.shared.journal.record(Entry {
            correlation: story.correlation,
            workload: self.name().clone(),
            generation: story.generation,
            provider: self.spec().provider.clone(),
            kind: story.kind,
            trigger: story.cause.trigger,
            reference: story.cause.reference.clone(),
            native_before: story.before.clone(),
            native_after: seen.and_then(|seen| seen.native_id.clone()),
            image,
            failure,
            began: story.began,
            ended: (self.shared.clock)(),
        });
    }
}
