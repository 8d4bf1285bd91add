//! How the engine carries out what the phase machine asks for.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;

use super::{
    Workload, instance::Instance, needs::Wanted, operation_record::OperationRecord, workload::Tasks,
};
use crate::{
    gate::Closed,
    journal::OperationKind,
    provider::{ErrorCode, Failure, Observation, RecreateOptions, Status, StopOptions},
    spec::{Adopt, SleepMethod, SleepPlan},
    step::{Effect, Input, Operation, Origin, Priority, ReadyInstance, Renewal},
};

/// The provider has so much longer to answer than what it is asked may take.
const MARGIN: Duration = Duration::from_secs(30);
/// Making a target anew may take so long, beyond fetching and stopping: its files may be copied.
pub(super) const RECREATE: Duration = Duration::from_secs(15 * 60);
/// The provider has so long to say what a target is.
const LOOK: Duration = Duration::from_secs(30);
/// Of the lines that a target wrote.
const LOGS: Duration = Duration::from_secs(10);
/// When the idle time is over and only those are inside that do not count, it is tried again
/// after so long.
const PASSING: Duration = Duration::from_secs(1);
/// The memory of a workload in a pool is measured this often.
const METER: Duration = Duration::from_secs(30);

/// What the provider is asked for an operation.
enum Call {
    Start,
    Pause,
    Stop(StopOptions),
    Kill(Option<String>),
    Recreate(RecreateOptions),
}

// === impl Call ===

impl Call {
    fn of(operation: Operation, plan: &SleepPlan) -> Self {
        let stop = StopOptions { signal: plan.signal.clone(), grace: plan.grace };
        match (operation, plan.method) {
            (Operation::Start, _) => Self::Start,
            (Operation::Renew(Renewal::Recreate { refresh }), _) => {
                Self::Recreate(RecreateOptions { refresh, stop })
            }
            (Operation::Sleep, SleepMethod::Pause) => Self::Pause,
            (_, SleepMethod::Stop | SleepMethod::Pause) => Self::Stop(stop),
            (_, SleepMethod::Kill) => Self::Kill(stop.signal),
        }
    }

    fn kind(&self) -> OperationKind {
        match self {
            Self::Start => OperationKind::Start,
            Self::Pause => OperationKind::Pause,
            Self::Stop(_) => OperationKind::Stop,
            Self::Kill(_) => OperationKind::Kill,
            Self::Recreate(_) => OperationKind::Recreate,
        }
    }
}

// === impl Workload ===

impl Workload {
    /// Carries out one effect without waiting. What is known at once is the answer.
    pub(super) fn run(
        self: &Arc<Self>,
        effect: Effect,
        tasks: &mut Tasks,
        story: Option<&OperationRecord>,
    ) -> Option<Input> {
        match effect {
            Effect::RequestSlot(generation) => {
                return match &self.pool {
                    Some(pool) => pool.ask(self, generation),
                    None => Some(Input::SlotGranted(generation)),
                };
            }
            Effect::ClaimSlot => self.pool.iter().for_each(|pool| pool.claim(self)),
            Effect::KeepMemoryOnly => self.pool.iter().for_each(|pool| pool.light(self)),
            Effect::ReleaseSlot => self.pool.iter().for_each(|pool| pool.give_back(self)),
            Effect::TakeNeeds(generation) => {
                if self.links().is_empty() && tasks.holds.is_empty() {
                    return Some(Input::NeedsMet(generation));
                }
                let correlation = story.map(|story| story.correlation);
                tasks.wanted = Some(Wanted { generation, waits: true, correlation });
            }
            Effect::KeepNeeds(generation) => {
                tasks.wanted = Some(Wanted { generation, waits: false, correlation: None });
            }
            Effect::ReleaseNeeds => {
                cancel(&mut tasks.needs);
                tasks.wanted = None;
                tasks.released.append(&mut tasks.holds);
            }
            Effect::Operate(ticket, operation) => self.begin(ticket, operation, tasks, story),
            Effect::CancelOperation => cancel(&mut tasks.operation),
            Effect::QueryStatus(ticket, priority) => {
                let workload = self.clone();
                let look = async move {
                    let _turn = match priority {
                        Priority::Urgent => None,
                        Priority::Routine => {
                            workload.shared.routine_turn(&workload.spec.provider).await
                        }
                    };
                    let result = workload.status_now().await;
                    workload.apply(Input::StatusResult(ticket, result));
                };
                replace(&mut tasks.look, self.spawn(look));
            }
            Effect::Probe(generation, life) => {
                let workload = self.clone();
                let probe = async move {
                    workload.probe(generation, &life).await;
                    workload.apply(Input::Ready(generation));
                };
                replace(&mut tasks.probe, self.spawn(probe));
            }
            Effect::ProbeNow => self.nudge.notify_one(),
            Effect::StopProbe => cancel(&mut tasks.probe),
            Effect::OpenGate(life) => {
                self.open(life, tasks);
                return Some(Input::GateBusy(self.busy().unwrap_or_default()));
            }
            Effect::CloseGate => {
                cancel(&mut tasks.meter);
                return (self.gate.close() == Closed::Empty).then_some(Input::Drained);
            }
            Effect::CloseGateIfEmpty => {
                let empty = self.waiting() == 0 && self.gate.close_if_empty();
                return Some(self.closed(empty, tasks));
            }
            Effect::CloseGateIfIdle => {
                let empty = self.busy().is_none() && self.gate.close_if_empty();
                return Some(self.closed(empty, tasks));
            }
            Effect::CheckSleep(ticket) => {
                return match self.busy() {
                    Some(left) => Some(Input::StillBusy(ticket, left)),
                    None if self.spec.vetoes.is_empty() => Some(Input::MaySleep(ticket)),
                    None => {
                        replace(&mut tasks.question, self.ask(ticket));
                        None
                    }
                };
            }
            Effect::CancelSleepCheck => cancel(&mut tasks.question),
            Effect::RestartIdleTime => {
                self.touch();
                self.pool.iter().for_each(|pool| pool.visit_ended());
            }
            Effect::ArmTimer(ticket, after) => {
                replace(&mut tasks.timer, self.apply_after(after, Input::Timer(ticket)));
            }
            Effect::DisarmTimer => cancel(&mut tasks.timer),
            Effect::ArmQueryTimer(ticket, after) => {
                replace(&mut tasks.look_timer, self.apply_after(after, Input::QueryTimer(ticket)));
            }
            Effect::DisarmQueryTimer => cancel(&mut tasks.look_timer),
            // These are the caller's.
            Effect::Publish | Effect::BeginRecord(..) | Effect::EndRecord(_) => {}
        }
        None
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared.runtime.spawn(work).abort_handle()
    }

    /// A timer that puts this in.
    fn apply_after(self: &Arc<Self>, after: Duration, input: Input) -> AbortHandle {
        let workload = self.clone();
        self.spawn(async move {
            tokio::time::sleep(after).await;
            workload.apply(input);
        })
    }

    /// What the provider says that it is doing for it just now. None when it does nothing, or nothing
    /// that takes long.
    pub fn progress(&self) -> Option<String> {
        self.shared.provider(&self.spec.provider).ok()?.progress(&self.spec.target)
    }

    /// The last lines the target wrote, by the provider's word. The provider works on the engine's
    /// runtime, wherever this is called. Dropping this ends the call.
    pub async fn logs(self: &Arc<Self>, lines: u32) -> Result<Vec<String>, Failure> {
        let workload = self.clone();
        let asking = async move {
            let provider = workload.shared.provider(&workload.spec.provider)?;
            let call = provider.logs(&workload.spec.target, lines);
            workload.within(LOGS, "logs of", call).await
        };
        let mut asked = tokio::task::JoinSet::new();
        asked.spawn_on(asking, &self.shared.runtime);
        let lost = || Failure::new(ErrorCode::Internal, "the provider was not asked to its end");
        asked.join_next().await.and_then(Result::ok).unwrap_or_else(|| Err(lost()))
    }

    fn open(self: &Arc<Self>, life: ReadyInstance, tasks: &mut Tasks) {
        let restored = self.restored_idle_time(&life.observation);
        let origin = life.origin;
        self.instance.store(Some(Arc::new(Instance::new(life))));
        let found = origin == Origin::Adopted && self.spec.adopt == Adopt::Keep;
        match (origin, restored) {
            (Origin::Adopted, Some(quiet)) => self.begin_idle(quiet, false),
            (Origin::Continued, _) if self.is_unrequested() => {
                self.begin_idle(Duration::ZERO, true)
            }
            _ => self.begin_idle(Duration::ZERO, found),
        }
        if self.pool.as_ref().is_some_and(|pool| pool.spec().max_memory.is_some()) {
            let workload = self.clone();
            replace(&mut tasks.meter, self.spawn(async move { workload.measure().await }));
        }
        self.gate.open();
    }

    fn closed(&self, closed: bool, tasks: &mut Tasks) -> Input {
        if closed {
            cancel(&mut tasks.meter);
            return Input::GateClosed;
        }
        Input::GateBusy(self.busy().or(self.idle()).unwrap_or(METER))
    }

    /// The idle time is over after this, if it is not over.
    fn busy(&self) -> Option<Duration> {
        let idle = self.idle()?;
        if self.tracked_visits() > 0 || self.waiting() > 0 || self.is_unrequested() {
            return Some(idle);
        }
        let left = idle.saturating_sub(self.idle_for());
        match left.is_zero() {
            true => (self.gate.visits() > 0).then_some(PASSING),
            false => Some(left),
        }
    }

    /// Measures its memory again and again, for its pool.
    async fn measure(&self) {
        let Ok(provider) = self.shared.provider(&self.spec.provider) else { return };
        loop {
            let turn = self.shared.routine_turn(&self.spec.provider).await;
            let usage = self.within(LOOK, "usage of", provider.usage(&self.spec.target)).await;
            drop(turn);
            match usage {
                Ok(usage) => {
                    self.measured.store(usage.memory.unwrap_or(0), Ordering::Relaxed);
                    self.pool.iter().for_each(|pool| pool.memory_changed());
                }
                Err(failure) => {
                    tracing::debug!(workload = %self.spec.name, error = failure.message, "usage");
                    if failure.code == ErrorCode::Unsupported {
                        return;
                    }
                }
            }
            tokio::time::sleep(METER).await;
        }
    }

    fn begin(
        self: &Arc<Self>,
        ticket: u64,
        operation: Operation,
        tasks: &mut Tasks,
        story: Option<&OperationRecord>,
    ) {
        let deeper = self.spec.deep_sleep.as_ref().map(|deeper| &deeper.plan);
        let plan = match operation {
            Operation::DeepSleep | Operation::Renew(_) => deeper.unwrap_or(&self.spec.sleep),
            Operation::Start | Operation::Sleep => &self.spec.sleep,
        };
        let call = Call::of(operation, plan);
        let kind = call.kind();
        let chapter = story.map(|story| story.chapter(kind, self));
        let workload = self.clone();
        let call = async move {
            let result = workload.operate(call).await;
            if let Some(chapter) = chapter {
                chapter.end(result.as_ref().map(Some));
            }
            workload.apply(Input::OperationResult(ticket, result));
        };
        replace(&mut tasks.operation, self.spawn(call));
    }

    async fn operate(&self, call: Call) -> Result<Observation, Failure> {
        let target = &self.spec.target;
        let limit = match &call {
            // The machine gives up a start by itself.
            Call::Start => self.spec.wake.timeout,
            Call::Pause | Call::Kill(_) => Duration::ZERO,
            Call::Stop(options) => options.grace,
            Call::Recreate(options) => options.extra().saturating_add(RECREATE),
        };
        let kind = call.kind();
        let asked = async {
            // A visitor who comes as the router starts is held until the plugin is loaded.
            let provider = self.shared.arrived(&self.spec.provider).await?;
            match &call {
                Call::Start => provider.start(target).await,
                Call::Pause => provider.pause(target).await,
                Call::Stop(options) => provider.stop(target, options).await,
                Call::Kill(signal) => provider.kill(target, signal.as_deref()).await,
                Call::Recreate(options) => provider.recreate(target, options).await,
            }
        };
        self.within(limit.saturating_add(MARGIN), kind.as_str(), asked).await
    }

    pub(super) async fn status_now(&self) -> Result<Observation, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let result = self.within(LOOK, "status of", provider.status(&self.spec.target)).await;
        match &result {
            Ok(seen) => {
                self.status_failing.store(false, Ordering::Relaxed);
                // One that does not exist has no labels, which says nothing.
                if seen.status != Status::Missing {
                    self.shared.read_compose(self, &seen.labels);
                }
            }
            // It is asked again and again; once is told.
            Err(failure) if !self.status_failing.swap(true, Ordering::Relaxed) => tracing::warn!(
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

    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        verb: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (provider, handle) = (&self.spec.provider, &self.spec.target.handle);
        let fail = |code, what: String| {
            Err(Failure::new(code, format!("provider {provider:?}: {verb} {handle}: {what}")))
        };
        // A provider that panics has a defect, and nobody must wait for its answer.
        let call = AssertUnwindSafe(call).catch_unwind();
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => fail(ErrorCode::Internal, "the provider panicked".to_owned()),
            Err(_) => fail(ErrorCode::Timeout, format!("no answer within {limit:?}")),
        }
    }
}

pub(super) fn replace(task: &mut Option<AbortHandle>, new: AbortHandle) {
    if let Some(old) = task.replace(new) {
        old.abort();
    }
}

fn cancel(task: &mut Option<AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}
