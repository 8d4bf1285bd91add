//! Wraps the provider under test: bounds every call and records answers that break a general rule.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_core::{
    ErrorCode, Exit, Failure, Observation, Provider, ProviderEvent, RecreateOptions, RemoveOptions,
    StopOptions, Target, Usage,
};
use tokio::sync::mpsc;

use crate::report::{NotPassed, Outcome, failure_text};

/// Timeout of a call. Each runtime ends its calls earlier; a longer call hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// A provider whose answers are checked against the general rules.
pub(crate) struct Recorder {
    provider: Arc<dyn Provider>,
    /// Fault count before the first call.
    faults: u64,
    violations: Mutex<Violations>,
}

/// First violation of each rule that holds for all answers.
#[derive(Default)]
struct Violations {
    failure: Option<(String, String)>,
    observation: Option<(String, String)>,
}

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new(provider: Arc<dyn Provider>) -> Self {
        let faults = provider.state().faults;
        Self { provider, faults, violations: Mutex::default() }
    }

    pub(crate) async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        self.observed(target, self.provider.start(target)).await
    }

    pub(crate) async fn stop(
        &self,
        target: &Target,
        options: &StopOptions,
    ) -> Result<Observation, Failure> {
        self.observed(target, self.provider.stop(target, options)).await
    }

    pub(crate) async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        self.observed(target, self.provider.pause(target)).await
    }

    pub(crate) async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        self.observed(target, self.provider.resume(target)).await
    }

    pub(crate) async fn kill(&self, target: &Target) -> Result<Observation, Failure> {
        self.observed(target, self.provider.kill(target, None)).await
    }

    pub(crate) async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        self.observed(target, self.provider.status(target)).await
    }

    pub(crate) async fn recreate(
        &self,
        target: &Target,
        options: &RecreateOptions,
    ) -> Result<Observation, Failure> {
        self.observed(target, self.provider.recreate(target, options)).await
    }

    pub(crate) async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        self.answered(self.provider.fetch(target)).await
    }

    pub(crate) async fn remove(
        &self,
        target: &Target,
        options: &RemoveOptions,
    ) -> Result<(), Failure> {
        self.answered(self.provider.remove(target, options)).await
    }

    pub(crate) async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure> {
        self.answered(self.provider.list(cursor)).await
    }

    pub(crate) async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        self.answered(self.provider.logs(target, lines)).await
    }

    pub(crate) async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        self.answered(self.provider.exec(target, command)).await
    }

    pub(crate) async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        self.answered(self.provider.usage(target)).await
    }

    pub(crate) fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        self.provider.watch()
    }

    /// Current error in the provider's state.
    pub(crate) fn cause(&self) -> Option<String> {
        self.provider.state().cause
    }

    /// No instance trapped, hung or exceeded a limit.
    pub(crate) fn check_faults(&self) -> Outcome {
        let state = self.provider.state();
        match state.faults - self.faults {
            0 => Ok(None),
            faults => {
                let last = state.cause.unwrap_or_else(|| "unknown cause".to_owned());
                Err(NotPassed::failed(
                    "no call traps, hangs or exceeds a limit",
                    format!("{faults} did, the last: {last}"),
                ))
            }
        }
    }

    pub(crate) fn check_failures(&self) -> Outcome {
        broken(self.violations().failure.clone())
    }

    pub(crate) fn check_observations(&self) -> Outcome {
        broken(self.violations().observation.clone())
    }

    async fn observed(
        &self,
        target: &Target,
        call: impl Future<Output = Result<Observation, Failure>>,
    ) -> Result<Observation, Failure> {
        let seen = self.answered(call).await?;
        let wrong = if seen.handle != target.handle {
            let expected = format!("an observation of the requested target {:?}", target.handle);
            Some((expected, format!("one of {:?}", seen.handle)))
        } else if seen.native_status.is_empty() {
            let actual = format!("none with status {:?}", seen.status);
            Some(("a native status in every observation".to_owned(), actual))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.violations().observation.get_or_insert(wrong);
        }
        Ok(seen)
    }

    async fn answered<R>(
        &self,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        let Ok(answer) = tokio::time::timeout(CALL_TIMEOUT, call).await else {
            let message = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
            return Err(Failure::new(ErrorCode::Timeout, message));
        };
        if let Err(failure) = &answer {
            let known = !matches!(failure.code, ErrorCode::Other(_));
            let line = !failure.message.trim().is_empty() && !failure.message.contains('\n');
            if !(known && line) {
                let expected = "a code of the contract and a message of one line";
                self.violations()
                    .failure
                    .get_or_insert((expected.to_owned(), failure_text(failure)));
            }
        }
        answer
    }

    fn violations(&self) -> MutexGuard<'_, Violations> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(noted: Option<(String, String)>) -> Outcome {
    match noted {
        Some((expected, actual)) => Err(NotPassed::failed(expected, actual)),
        None => Ok(None),
    }
}
