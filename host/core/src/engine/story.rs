//! What is told of an operation: to the journal, and to whoever asks how long a wake takes.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::Workload;
use crate::{
    journal::{Cause, Correlation, Entry, Kind},
    provider::{ErrorCode, Failure, Observation},
    words::Generation,
};

/// So many wakes tell how long the next one takes.
const REMEMBERED: usize = 9;

/// An operation that has begun.
pub(super) struct Story {
    pub(super) correlation: Correlation,
    pub(super) cause: Cause,
    generation: Generation,
    kind: Kind,
    /// The platform's identity of the target when it began.
    before: Option<String>,
    began: SystemTime,
    clock: Instant,
}

/// A provider call that is told to the journal however it ends, even if nobody waits for its
/// answer any more.
pub(super) struct Chapter {
    story: Story,
    workload: Arc<Workload>,
    ended: bool,
}

/// How long the last wakes took.
#[derive(Default)]
pub(super) struct Wakes(VecDeque<Duration>);

// === impl Story ===

impl Story {
    pub(super) fn begin(
        kind: Kind,
        cause: &Arc<Cause>,
        generation: Generation,
        workload: &Workload,
    ) -> Self {
        let correlation = cause.correlation.unwrap_or_else(Correlation::random);
        Self {
            correlation,
            cause: (**cause).clone().within(correlation),
            generation,
            kind,
            before: workload.native_id(),
            began: (workload.shared.clock)(),
            clock: Instant::now(),
        }
    }

    /// A provider call within this story.
    pub(super) fn chapter(&self, kind: Kind, workload: &Arc<Workload>) -> Chapter {
        let story = Self {
            correlation: self.correlation,
            cause: self.cause.clone(),
            generation: self.generation,
            kind,
            before: workload.native_id(),
            began: (workload.shared.clock)(),
            clock: Instant::now(),
        };
        Chapter { story, workload: workload.clone(), ended: false }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

// === impl Chapter ===

impl Chapter {
    /// A provider call that is no part of what the workload does at the moment.
    pub(super) fn alone(kind: Kind, cause: &Arc<Cause>, workload: &Arc<Workload>) -> Self {
        let story = Story::begin(kind, cause, workload.snapshot().generation, workload);
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

impl Drop for Chapter {
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
    pub(super) fn learn(&mut self, story: &Story, well: bool) {
        if story.kind == Kind::Wake && well {
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
        story: &Story,
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
            source: story.cause.source,
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
