//! Records of operations and of the provider calls within them, for the journal.

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

/// Number of successful wakes that the expected duration of the next one is taken from.
const WAKES: usize = 9;

/// An operation that has begun.
pub(super) struct OperationRecord {
    pub(super) correlation: Correlation,
    cause: Cause,
    generation: Generation,
    kind: OperationKind,
    /// The platform's identity of the target when the operation began.
    native_before: Option<String>,
    began: SystemTime,
    clock: Instant,
}

/// A provider call, journalled when it ends or is dropped.
pub(super) struct CallRecord {
    record: OperationRecord,
    workload: Arc<Workload>,
    ended: bool,
}

/// Durations of the last successful wakes, newest first.
#[derive(Default)]
pub(super) struct WakeDurations(VecDeque<Duration>);

// === impl OperationRecord ===

impl OperationRecord {
    pub(super) fn begin(
        kind: OperationKind,
        cause: &Cause,
        generation: Generation,
        workload: &Workload,
    ) -> Self {
        let correlation = cause.correlation.unwrap_or_else(Correlation::random);
        Self {
            correlation,
            cause: cause.clone().with_correlation(correlation),
            generation,
            kind,
            native_before: workload.native_id(),
            began: (workload.shared.clock)(),
            clock: Instant::now(),
        }
    }

    /// Begins a provider call within this operation.
    pub(super) fn call(&self, kind: OperationKind, workload: &Arc<Workload>) -> CallRecord {
        let record = Self::begin(kind, &self.cause, self.generation, workload);
        CallRecord { record, workload: workload.clone(), ended: false }
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

// === impl CallRecord ===

impl CallRecord {
    /// Begins a provider call outside of the workload's current operation.
    pub(super) fn standalone(kind: OperationKind, cause: &Cause, workload: &Arc<Workload>) -> Self {
        let generation = workload.snapshot().generation;
        let record = OperationRecord::begin(kind, cause, generation, workload);
        Self { record, workload: workload.clone(), ended: false }
    }

    /// Journals and logs the provider's answer.
    pub(super) fn end(mut self, result: Result<Option<&Observation>, &Failure>) {
        self.ended = true;
        let (record, workload) = (&self.record, &self.workload);
        workload.record(record, result.ok().flatten(), result.err().cloned());
        let spec = workload.spec();
        let milliseconds = u64::try_from(record.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (operation, correlation) = (record.kind, record.correlation);
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
            self.workload.record(&self.record, None, Some(failure));
        }
    }
}

// === impl WakeDurations ===

impl WakeDurations {
    /// Adds an operation that ended, if it is a successful wake.
    pub(super) fn add(&mut self, record: &OperationRecord, succeeded: bool) {
        if record.kind == OperationKind::Wake && succeeded {
            self.0.truncate(WAKES - 1);
            self.0.push_front(record.elapsed());
        }
    }

    /// The median; none before the first wake.
    pub(super) fn expected(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

// === impl Workload ===

impl Workload {
    /// The platform's identity of the instance that was entered last.
    fn native_id(&self) -> Option<String> {
        self.admission.instance().and_then(|it| it.observation().native_id.clone())
    }

    /// Writes an ended operation or call to the journal, with what was observed of the target.
    pub(super) fn record(
        &self,
        record: &OperationRecord,
        seen: Option<&Observation>,
        failure: Option<Failure>,
    ) {
        let image = seen.and_then(|seen| seen.attributes.get("image").cloned());
        self.shared.journal.record(Entry {
            correlation: record.correlation,
            workload: self.name().clone(),
            generation: record.generation,
            provider: self.spec().provider.clone(),
            kind: record.kind,
            trigger: record.cause.trigger,
            reference: record.cause.reference.clone(),
            native_before: record.native_before.clone(),
            native_after: seen.and_then(|seen| seen.native_id.clone()),
            image,
            failure,
            began: record.began,
            ended: (self.shared.clock)(),
        });
    }
}
