//! How the engine carries out what the phase machine asks for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::workload::{Life, Tasks, Workload};
use crate::{
    gate::Closed,
    provider::{ErrorCode, Failure, Observation, StopOptions},
    spec::SleepMethod,
    step::{Effect, Input, Operation},
    words::Generation,
};

/// The pause between probes in a wake's first second.
const PROBE_FIRST: Duration = Duration::from_millis(5);
/// The longest pause between probes.
const PROBE_LAST: Duration = Duration::from_millis(250);
/// For so long the pause stays at its shortest.
const PROBE_EAGER: Duration = Duration::from_secs(1);
/// The provider has so much longer than the grace time to answer a stop.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// The provider has so long to say what a target is.
const LOOK: Duration = Duration::from_secs(30);

impl Workload {
    /// Carries out one effect without waiting. What is known at once is the answer.
    pub(super) fn run(self: &Arc<Self>, effect: Effect, tasks: &mut Tasks) -> Option<Input> {
        match effect {
            Effect::Operate(ticket, operation) => {
                let workload = self.clone();
                replace(
                    &mut tasks.operation,
                    self.spawn(async move {
                        let result = workload.operate(operation).await;
                        workload.apply(Input::Answered(ticket, result));
                    }),
                );
            }
            Effect::CancelOperation => cancel(&mut tasks.operation),
            Effect::Look(ticket) => {
                let workload = self.clone();
                replace(
                    &mut tasks.look,
                    self.spawn(async move {
                        let result = workload.status_now().await;
                        workload.apply(Input::Looked(ticket, result));
                    }),
                );
            }
            Effect::Probe(generation, life) => {
                let workload = self.clone();
                replace(
                    &mut tasks.probe,
                    self.spawn(async move {
                        workload.probe(generation, &life).await;
                        workload.apply(Input::Ready(generation));
                    }),
                );
            }
            Effect::Nudge => self.nudge.notify_one(),
            Effect::StopProbe => cancel(&mut tasks.probe),
            Effect::OpenGate(generation, observation) => {
                self.life.store(Some(Arc::new(Life { generation, observation })));
                self.touch();
                self.gate.open();
            }
            Effect::CloseGate => {
                return (self.gate.close() == Closed::Empty).then_some(Input::Drained);
            }
            Effect::CloseGateIfIdle => return Some(self.close_if_idle()),
            Effect::Arm(ticket, after) => {
                let workload = self.clone();
                replace(
                    &mut tasks.timer,
                    self.spawn(async move {
                        tokio::time::sleep(after).await;
                        workload.apply(Input::Timer(ticket));
                    }),
                );
            }
            Effect::Disarm => cancel(&mut tasks.timer),
            Effect::Publish => {}
        }
        None
    }

    fn spawn(
        self: &Arc<Self>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        self.shared.runtime.spawn(work).abort_handle()
    }

    fn close_if_idle(&self) -> Input {
        let Some(idle) = self.idle() else { return Input::GateBusy(PROBE_EAGER) };
        if self.gate.visits() > 0 {
            return Input::GateBusy(idle);
        }
        match idle.checked_sub(self.quiet()) {
            Some(left) if !left.is_zero() => Input::GateBusy(left),
            _ if self.gate.close_if_empty() => Input::GateClosed,
            _ => Input::GateBusy(idle),
        }
    }

    async fn operate(&self, operation: Operation) -> Result<Observation, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let (target, sleep) = (&self.spec.target, &self.spec.sleep);
        let call = async {
            match (operation, sleep.method) {
                (Operation::Start, _) => provider.start(target).await,
                (Operation::Sleep, SleepMethod::Pause) => provider.pause(target).await,
                (Operation::Sleep, SleepMethod::Kill) => {
                    provider.kill(target, sleep.signal.as_deref()).await
                }
                (Operation::Sleep, SleepMethod::Stop) => {
                    let options = StopOptions { signal: sleep.signal.clone(), grace: sleep.grace };
                    provider.stop(target, &options).await
                }
            }
        };
        // The machine gives up a start by itself.
        let limit = match operation {
            Operation::Start => self.spec.wake.timeout.saturating_add(STOP_MARGIN),
            Operation::Sleep => sleep.grace.saturating_add(STOP_MARGIN),
        };
        let verb = match operation {
            Operation::Start => "start",
            Operation::Sleep => "sleep",
        };
        let began = Instant::now();
        let result = self.within(limit, verb, call).await;
        let (workload, provider) = (&self.spec.name, &self.spec.provider);
        let milliseconds = began.elapsed().as_secs_f64() * 1e3;
        match &result {
            Ok(seen) => tracing::info!(
                %workload, %provider, operation = verb, milliseconds,
                status = seen.native_status, "operation done"
            ),
            Err(failure) => tracing::warn!(
                %workload, %provider, operation = verb, milliseconds,
                code = %failure.code, error = failure.message, "operation failed"
            ),
        }
        result
    }

    async fn status_now(&self) -> Result<Observation, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let result = self.within(LOOK, "status", provider.status(&self.spec.target)).await;
        if let Err(failure) = &result {
            tracing::warn!(
                workload = %self.spec.name, provider = %self.spec.provider, operation = "status",
                code = %failure.code, error = failure.message, "operation failed"
            );
        }
        result
    }

    async fn within<T>(
        &self,
        limit: Duration,
        verb: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(Failure::new(
                ErrorCode::Timeout,
                format!(
                    "provider {:?}: {verb} {}: no answer within {limit:?}",
                    self.spec.provider, self.spec.target.handle
                ),
            ))
        })
    }

    /// Looks until it is ready: eagerly at first, then less and less often, and at once when the
    /// provider reports a change.
    async fn probe(self: &Arc<Self>, generation: Generation, life: &Observation) {
        let began = Instant::now();
        let mut pause = PROBE_FIRST;
        let mut last = String::new();
        loop {
            match self.shared.prober.probe(&self.spec.ready, &life.addresses).await {
                Ok(()) => return,
                Err(seen) if seen != last => {
                    tracing::debug!(workload = %self.spec.name, %generation, seen, "not ready");
                    self.apply(Input::NotReady(generation, seen.clone()));
                    last = seen;
                }
                Err(_) => {}
            }
            let nudged = tokio::time::timeout(pause, self.nudge.notified()).await.is_ok();
            if nudged {
                pause = PROBE_FIRST;
            } else if began.elapsed() > PROBE_EAGER {
                pause = (pause * 5 / 4).min(PROBE_LAST);
            }
        }
    }
}

fn replace(task: &mut Option<tokio::task::AbortHandle>, new: tokio::task::AbortHandle) {
    if let Some(old) = task.replace(new) {
        old.abort();
    }
}

fn cancel(task: &mut Option<tokio::task::AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}
