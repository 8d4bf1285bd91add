//! Carries out the effects that the phase machine requests.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;

use super::{
    Workload, instance::Instance, needs::NeedsRequest, operation_record::OperationRecord,
    runner::Tasks,
};
use crate::{
    gate::CloseOutcome,
    journal::OperationKind,
    provider::{ErrorCode, Failure, Observation, RecreateOptions, StopOptions},
    spec::{Adopt, SleepMethod, SleepPlan},
    step::{Effect, Input, Operation, Origin, Priority, ReadyInstance, Renewal},
};

/// Time that a provider has for an answer on top of the time that the call itself may take.
const MARGIN: Duration = Duration::from_secs(30);
/// Time to recreate a target, on top of fetching and stopping: its files may be copied.
pub(super) const RECREATE: Duration = Duration::from_secs(15 * 60);
/// Maximum time of a call for log lines.
const LOGS: Duration = Duration::from_secs(10);
/// Delay before the next attempt to sleep of a workload without an idle time.
const NO_IDLE_RETRY: Duration = Duration::from_secs(30);

/// The provider call for an operation.
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
    /// Carries out one effect without waiting; returns the input that answers it, when the answer
    /// is known at once.
    pub(super) fn run(
        self: &Arc<Self>,
        effect: Effect,
        tasks: &mut Tasks,
        record: Option<&OperationRecord>,
    ) -> Option<Input> {
        match effect {
            Effect::RequestSlot(generation) => {
                return match &self.pool {
                    Some(pool) => pool.request(self, generation),
                    None => Some(Input::SlotGranted(generation)),
                };
            }
            Effect::ClaimSlot => self.pool.iter().for_each(|pool| pool.claim(self)),
            Effect::KeepMemoryOnly => self.pool.iter().for_each(|pool| pool.sleeps_lightly(self)),
            Effect::ReleaseSlot => self.pool.iter().for_each(|pool| pool.release(self)),
            Effect::TakeNeeds(generation) => {
                if self.needs().is_empty() && tasks.needs.is_empty() {
                    return Some(Input::NeedsMet(generation));
                }
                let correlation = record.map(|record| record.correlation);
                tasks.needs.request(NeedsRequest { generation, waits: true, correlation });
            }
            Effect::KeepNeeds(generation) => {
                tasks.needs.request(NeedsRequest { generation, waits: false, correlation: None });
            }
            Effect::ReleaseNeeds => {
                cancel(&mut tasks.needs_wait);
                tasks.needs.release_all();
            }
            Effect::Operate(ticket, operation) => self.operate(ticket, operation, tasks, record),
            Effect::CancelOperation => cancel(&mut tasks.operation),
            Effect::QueryStatus(ticket, priority) => {
                let workload = self.clone();
                let query = async move {
                    let _permit = match priority {
                        Priority::Urgent => None,
                        Priority::Routine => {
                            workload.shared.routine_permit(&workload.spec.provider).await
                        }
                    };
                    let result = workload.query_status().await;
                    workload.apply(Input::StatusResult(ticket, result));
                };
                replace(&mut tasks.status, self.spawn(query));
            }
            Effect::Probe(generation, life) => {
                let workload = self.clone();
                let probe = async move {
                    workload.probe(generation, &life).await;
                    workload.apply(Input::Ready(generation));
                };
                replace(&mut tasks.probe, self.spawn(probe));
            }
            Effect::ProbeNow => self.probe_now.notify_one(),
            Effect::StopProbe => cancel(&mut tasks.probe),
            Effect::OpenGate(life) => {
                self.open_gate(life, tasks);
                return Some(Input::GateBusy(self.idle_left().unwrap_or_default()));
            }
            Effect::CloseGate => {
                cancel(&mut tasks.memory_meter);
                let closed = self.admission.close();
                return (closed == CloseOutcome::Empty).then_some(Input::Drained);
            }
            Effect::CloseGateIfEmpty => {
                return Some(self.gate_closed(self.admission.close_if_empty(), tasks));
            }
            Effect::CloseGateIfIdle => {
                let closed = self.admission.close_if_idle(self.idle());
                return Some(self.gate_closed(closed, tasks));
            }
            Effect::CheckSleep(ticket) => {
                return match self.idle_left() {
                    Some(left) => Some(Input::StillBusy(ticket, left)),
                    None if self.spec.vetoes.is_empty() => Some(Input::MaySleep(ticket)),
                    None => {
                        replace(&mut tasks.vetoes, self.check_vetoes(ticket));
                        None
                    }
                };
            }
            Effect::CancelSleepCheck => cancel(&mut tasks.vetoes),
            Effect::RestartIdleTime => {
                self.admission.touch();
                self.pool.iter().for_each(|pool| pool.visit_ended());
            }
            Effect::ArmTimer(ticket, after) => {
                replace(&mut tasks.timer, self.apply_after(after, Input::Timer(ticket)));
            }
            Effect::DisarmTimer => cancel(&mut tasks.timer),
            Effect::ArmQueryTimer(ticket, after) => {
                replace(
                    &mut tasks.status_timer,
                    self.apply_after(after, Input::QueryTimer(ticket)),
                );
            }
            Effect::DisarmQueryTimer => cancel(&mut tasks.status_timer),
            // Carried out by the runner itself.
            Effect::Publish | Effect::BeginRecord(..) | Effect::EndRecord(_) => {}
        }
        None
    }

    fn apply_after(self: &Arc<Self>, after: Duration, input: Input) -> AbortHandle {
        let workload = self.clone();
        self.spawn(async move {
            tokio::time::sleep(after).await;
            workload.apply(input);
        })
    }

    /// The last lines that the target wrote, as reported by the provider, which works on the
    /// engine's runtime. Dropping the future cancels the call.
    pub async fn logs(self: &Arc<Self>, lines: u32) -> Result<Vec<String>, Failure> {
        let workload = self.clone();
        let call = async move {
            let provider = workload.shared.provider(&workload.spec.provider)?;
            let call = provider.logs(&workload.spec.target, lines);
            workload.within(LOGS, "logs of", call).await
        };
        let mut calls = tokio::task::JoinSet::new();
        calls.spawn_on(call, &self.shared.runtime);
        let lost = || Failure::new(ErrorCode::Internal, "the call for log lines was aborted");
        calls.join_next().await.and_then(Result::ok).unwrap_or_else(|| Err(lost()))
    }

    fn open_gate(self: &Arc<Self>, life: ReadyInstance, tasks: &mut Tasks) {
        let restored = self.restored_idle_time(&life.observation);
        let (origin, unrequested) = (life.origin, self.admission.is_unrequested());
        let (idle_for, unrequested) = match (origin, restored) {
            (Origin::Adopted, Some(idle_for)) => (idle_for, false),
            (Origin::Adopted, None) => (Duration::ZERO, self.spec.adopt == Adopt::Keep),
            (Origin::Continued, _) => (Duration::ZERO, unrequested),
            (Origin::Started, _) => (Duration::ZERO, false),
        };
        if self.pool.as_ref().is_some_and(|pool| pool.spec().max_memory.is_some()) {
            let workload = self.clone();
            let meter = self.spawn(async move { workload.measure_memory().await });
            replace(&mut tasks.memory_meter, meter);
        }
        self.admission.open(Arc::new(Instance::new(life)), idle_for, unrequested);
    }

    fn gate_closed(&self, closed: bool, tasks: &mut Tasks) -> Input {
        if closed {
            cancel(&mut tasks.memory_meter);
            return Input::GateClosed;
        }
        Input::GateBusy(self.idle_left().or(self.idle()).unwrap_or(NO_IDLE_RETRY))
    }

    fn idle_left(&self) -> Option<Duration> {
        self.admission.idle_left(self.idle())
    }

    fn operate(
        self: &Arc<Self>,
        ticket: u64,
        operation: Operation,
        tasks: &mut Tasks,
        record: Option<&OperationRecord>,
    ) {
        let deep_sleep = self.spec.deep_sleep.as_ref().map(|deep_sleep| &deep_sleep.plan);
        let plan = match operation {
            Operation::DeepSleep | Operation::Renew(_) => deep_sleep.unwrap_or(&self.spec.sleep),
            Operation::Start | Operation::Sleep => &self.spec.sleep,
        };
        let call = Call::of(operation, plan);
        let call_record = record.map(|record| record.call(call.kind(), self));
        let workload = self.clone();
        let call = async move {
            let result = workload.call_provider(call).await;
            if let Some(record) = call_record {
                record.end(result.as_ref().map(Some));
            }
            workload.apply(Input::OperationResult(ticket, result));
        };
        replace(&mut tasks.operation, self.spawn(call));
    }

    async fn call_provider(&self, call: Call) -> Result<Observation, Failure> {
        let target = &self.spec.target;
        let limit = match &call {
            // The phase machine has a deadline of its own for a wake.
            Call::Start => self.spec.wake.timeout,
            Call::Pause | Call::Kill(_) => Duration::ZERO,
            Call::Stop(options) => options.grace,
            Call::Recreate(options) => options.extra().saturating_add(RECREATE),
        };
        let kind = call.kind();
        let answer = async {
            // Visitors that arrive while the router starts are held until the plugin is loaded.
            let provider = self.shared.loaded_provider(&self.spec.provider).await?;
            match &call {
                Call::Start => provider.start(target).await,
                Call::Pause => provider.pause(target).await,
                Call::Stop(options) => provider.stop(target, options).await,
                Call::Kill(signal) => provider.kill(target, signal.as_deref()).await,
                Call::Recreate(options) => provider.recreate(target, options).await,
            }
        };
        self.within(limit.saturating_add(MARGIN), kind.as_str(), answer).await
    }

    /// Awaits a provider call, for at most `limit`; `verb` and the target name it in errors.
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
        // Without this, a panic in a provider would leave the phase machine without an answer.
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
