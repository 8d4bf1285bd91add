//! What a provider must do with a target of a real platform.

mod abuse;
mod anew;
mod inside;
mod life;
mod list;
mod pause;
mod watch;

use std::{future::Future, time::Duration};

use drowse_core::{Ability, ErrorCode, Failure, Observation, Status, StopOptions, Target};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    About, Stand, Trial,
    recorder::Recorder,
    report::{Draft, End, Outcome, told},
};

/// Between the first two looks at a target that is to change; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between two looks.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The provider and the target that checks are made on.
struct Ground<'a> {
    stand: &'a dyn Stand,
    about: &'a About,
    trial: &'a Trial,
    provider: Recorder,
}

/// One promise and how it is put to the test.
struct Promise {
    name: &'static str,
    promise: &'static str,
    check: for<'g> fn(&'g Ground<'g>) -> BoxFuture<'g, Outcome>,
}

/// A promise by its name, its words and the function that tests it.
macro_rules! promise {
    ($name:literal, $promise:literal, $check:path) => {
        $crate::live::Promise {
            name: $name,
            promise: $promise,
            check: |ground| Box::pin($check(ground)),
        }
    };
}
use promise;

/// Every check, in an order in which each begins near where the one before ends.
const PARTS: [&[Promise]; 7] = [
    life::PROMISES,
    pause::PROMISES,
    inside::PROMISES,
    list::PROMISES,
    watch::PROMISES,
    abuse::PROMISES,
    anew::PROMISES,
];

/// Makes every check that the trial allows, and leaves the target as it was found.
pub(crate) async fn run(stand: &dyn Stand, about: &About, trial: &Trial, report: &mut Draft<'_>) {
    let promise = "it takes the operator's settings and grants";
    let provider = match stand.granted().await {
        Ok(provider) => Recorder::new(provider),
        Err(failure) => {
            report.note("granted", promise, Err(End::failed("success", told(&failure))));
            return;
        }
    };
    report.note("granted", promise, Ok(None));
    let ground = Ground { stand, about, trial, provider };
    let ran = ground.status().await.is_ok_and(|seen| is_up(&seen.status));
    for Promise { name, promise, check } in PARTS.into_iter().flatten() {
        report.note(name, promise, check(&ground).await);
    }
    let promise = "every failure has a code of the contract and says what happened";
    report.note("failures", promise, ground.provider.check_failures());
    let promise = "every observation is of the target and has the platform's own word";
    report.note("observations", promise, ground.provider.check_observations());
    report.note("faults", "no call breaks", ground.provider.check_faults());
    if !trial.may_remove {
        // What fails here has been told.
        let _ = if ran { ground.start().await } else { ground.stop().await };
    }
}

// === impl Ground ===

impl Ground<'_> {
    fn target(&self) -> &Target {
        &self.trial.target
    }

    /// A target that does not exist.
    fn unknown(&self) -> &Target {
        &self.trial.unknown
    }

    /// The answer to a call for such a target. A handle that no target can have says nothing about
    /// those that one could: then the check is skipped.
    async fn asked_of_unknown<R>(
        &self,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<Result<R, Failure>, End> {
        match call.await {
            Err(failure) if failure.code == ErrorCode::InvalidRequest => {
                Err(End::Skipped(format!(
                    "say a handle that a target could have and none has as `unknown` in [test]: {}",
                    told(&failure)
                )))
            }
            answer => Ok(answer),
        }
    }

    fn options(&self) -> StopOptions {
        StopOptions { signal: None, grace: self.trial.grace }
    }

    async fn status(&self) -> Result<Observation, Failure> {
        self.provider.status(self.target()).await
    }

    async fn start(&self) -> Result<Observation, Failure> {
        self.provider.start(self.target()).await
    }

    async fn stop(&self) -> Result<Observation, Failure> {
        self.provider.stop(self.target(), &self.options()).await
    }

    /// Skips the check unless the provider knows where the target can be connected to.
    fn told_addresses(&self) -> Result<(), End> {
        if self.trial.addresses {
            return Ok(());
        }
        Err(End::Skipped("`addresses = false` in [test]".to_owned()))
    }

    /// Skips the check unless the provider has the ability here.
    fn needs(&self, ability: Ability) -> Result<(), End> {
        if self.trial.without.contains(&ability) {
            return Err(End::Skipped(format!("`without` names the ability {}", word(ability))));
        }
        if !self.about.can(ability) {
            return Err(End::Skipped(format!("it does not have the ability {}", word(ability))));
        }
        Ok(())
    }

    /// The running target; where it does not come to run, the check is skipped.
    async fn running(&self) -> Result<Observation, End> {
        let begin = self.status().await;
        match begin {
            Ok(seen) if seen.status == Status::Running => Ok(seen),
            _ => {
                let reach = async {
                    self.repeated(|| self.start()).await?;
                    self.until(|status| *status == Status::Running).await
                };
                reach.await.map_err(|cause| skipped("does not come to run", &cause))
            }
        }
    }

    /// The target at rest; where it does not come to rest, the check is skipped.
    async fn at_rest(&self) -> Result<Observation, End> {
        let begin = self.status().await;
        match begin {
            Ok(seen) if is_down(&seen.status) => Ok(seen),
            _ => {
                let reach = async {
                    self.repeated(|| self.stop()).await?;
                    self.until(is_down).await
                };
                reach.await.map_err(|cause| skipped("does not come to rest", &cause))
            }
        }
    }

    /// The paused target; where it cannot be paused, the check is skipped.
    async fn paused(&self) -> Result<Observation, End> {
        self.needs(Ability::Pause)?;
        self.running().await?;
        let reach = async {
            self.provider.pause(self.target()).await?;
            self.until(|status| *status == Status::Paused).await
        };
        reach.await.map_err(|cause| skipped("cannot be paused", &cause))
    }

    /// Looks until the status is as wanted.
    async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Result<Observation, Failure> {
        let deadline = Instant::now() + self.trial.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = self.status().await?;
            if wanted(&seen.status) {
                return Ok(seen);
            }
            if Instant::now() + pause > deadline {
                let (patience, word) = (self.trial.patience.as_secs_f64(), &seen.native_status);
                let message = format!("still {:?} ({word:?}) after {patience} s", seen.status);
                return Err(Failure::new(ErrorCode::Timeout, message));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// The answer to a call that is made again for as long as it meets somebody else's operation.
    async fn repeated<R, F>(&self, call: impl Fn() -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let deadline = Instant::now() + self.trial.patience;
        loop {
            match call().await {
                Err(failure)
                    if failure.code == ErrorCode::Conflict
                        && Instant::now() + LAST_PAUSE < deadline =>
                {
                    tokio::time::sleep(LAST_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}

/// It runs, or will.
fn is_up(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}

/// It exists and does not run.
fn is_down(status: &Status) -> bool {
    matches!(status, Status::Stopped | Status::Failed)
}

/// `running, "Up 3 minutes"`
fn state(seen: &Observation) -> String {
    format!("{:?} ({:?})", seen.status, seen.native_status)
}

fn skipped(what: &str, cause: &Failure) -> End {
    End::Skipped(format!("the target {what}: {}", told(cause)))
}

fn word(ability: Ability) -> String {
    match serde_json::to_value(ability) {
        Ok(serde_json::Value::String(word)) => format!("`{word}`"),
        _ => format!("{ability:?}"),
    }
}
