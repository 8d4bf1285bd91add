//! Checks of a provider with a target on a real platform.

mod concurrency;
mod inspect;
mod lifecycle;
mod list;
mod pause;
mod recreate;
mod watch;

use std::{future::Future, time::Duration};

use drowse_core::{Ability, ErrorCode, Failure, Observation, Status, StopOptions, Target};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    About, TestHost, TestTarget,
    recorder::Recorder,
    report::{NotPassed, Outcome, ReportBuilder, failure_text},
};

/// First pause between two status queries while waiting for a change; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two status queries.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The provider and target under test.
struct Fixture<'a> {
    host: &'a dyn TestHost,
    about: &'a About,
    test_target: &'a TestTarget,
    provider: Recorder,
}

/// One rule of the contract and the function that checks it.
struct LiveCheck {
    name: &'static str,
    promise: &'static str,
    check: for<'g> fn(&'g Fixture<'g>) -> BoxFuture<'g, Outcome>,
}

/// Builds a [`LiveCheck`] from its name, its rule and its function.
macro_rules! check {
    ($name:literal, $promise:literal, $check:path) => {
        $crate::live::LiveCheck {
            name: $name,
            promise: $promise,
            check: |fixture| Box::pin($check(fixture)),
        }
    };
}
use check;

/// All checks, ordered so that each begins near the state in which the previous one ends.
const CHECKS: [&[LiveCheck]; 7] = [
    lifecycle::CHECKS,
    pause::CHECKS,
    inspect::CHECKS,
    list::CHECKS,
    watch::CHECKS,
    concurrency::CHECKS,
    recreate::CHECKS,
];

/// Runs all live checks and restores the target's initial state.
pub(crate) async fn run(
    host: &dyn TestHost,
    about: &About,
    test_target: &TestTarget,
    report: &mut ReportBuilder<'_>,
) {
    let promise = "`configure` accepts the operator's settings and grants";
    let provider = match host.granted().await {
        Ok(provider) => Recorder::new(provider),
        Err(failure) => {
            report.note(
                "granted",
                promise,
                Err(NotPassed::failed("success", failure_text(&failure))),
            );
            return;
        }
    };
    report.note("granted", promise, Ok(None));
    let fixture = Fixture { host, about, test_target, provider };
    let ran = fixture.status().await.is_ok_and(|seen| is_up(&seen.status));
    for LiveCheck { name, promise, check } in CHECKS.into_iter().flatten() {
        report.note(name, promise, check(&fixture).await);
    }
    let promise = "every failure has a code of the contract and a message of one line";
    report.note("failures", promise, fixture.provider.check_failures());
    let promise = "every observation is of the target and has the platform's native status";
    report.note("observations", promise, fixture.provider.check_observations());
    report.note(
        "faults",
        "no call traps, hangs or exceeds a limit",
        fixture.provider.check_faults(),
    );
    if !test_target.may_remove {
        // Failures of these calls are already reported by their own checks.
        let _ = if ran { fixture.start().await } else { fixture.stop().await };
    }
}

// === impl Fixture ===

impl Fixture<'_> {
    fn target(&self) -> &Target {
        &self.test_target.target
    }

    /// A target that does not exist.
    fn unknown(&self) -> &Target {
        &self.test_target.unknown
    }

    /// Calls a function for an unknown target. An invalid handle proves nothing about valid ones,
    /// so invalid_request skips the check.
    async fn call_unknown<R>(
        &self,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<Result<R, Failure>, NotPassed> {
        match call.await {
            Err(failure) if failure.code == ErrorCode::InvalidRequest => {
                Err(NotPassed::Skipped(format!(
                    "set `unknown` in [test] to a valid handle that no target has: {}",
                    failure_text(&failure)
                )))
            }
            answer => Ok(answer),
        }
    }

    fn options(&self) -> StopOptions {
        StopOptions { signal: None, grace: self.test_target.grace }
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

    /// Skips the check unless the provider reports the target's address.
    fn require_addresses(&self) -> Result<(), NotPassed> {
        if self.test_target.addresses {
            return Ok(());
        }
        Err(NotPassed::Skipped("`addresses = false` in [test]".to_owned()))
    }

    /// Skips the check unless the provider has the ability in this configuration.
    fn require_ability(&self, ability: Ability) -> Result<(), NotPassed> {
        if self.test_target.without.contains(&ability) {
            return Err(NotPassed::Skipped(format!(
                "`without` lists the ability {}",
                word(ability)
            )));
        }
        if !self.about.can(ability) {
            return Err(NotPassed::Skipped(format!(
                "the plugin does not declare the ability {}",
                word(ability)
            )));
        }
        Ok(())
    }

    /// Brings the target to `running`; skips the check if that fails.
    async fn running(&self) -> Result<Observation, NotPassed> {
        let first = self.status().await;
        match first {
            Ok(seen) if seen.status == Status::Running => Ok(seen),
            _ => {
                let reach = async {
                    self.retry_on_conflict(|| self.start()).await?;
                    self.wait_for(|status| *status == Status::Running).await
                };
                reach.await.map_err(|cause| skipped("does not reach running", &cause))
            }
        }
    }

    /// Brings the target to rest; skips the check if that fails.
    async fn stopped(&self) -> Result<Observation, NotPassed> {
        let first = self.status().await;
        match first {
            Ok(seen) if is_down(&seen.status) => Ok(seen),
            _ => {
                let reach = async {
                    self.retry_on_conflict(|| self.stop()).await?;
                    self.wait_for(is_down).await
                };
                reach.await.map_err(|cause| skipped("does not stop", &cause))
            }
        }
    }

    /// Pauses the target; skips the check if that fails.
    async fn paused(&self) -> Result<Observation, NotPassed> {
        self.require_ability(Ability::Pause)?;
        self.running().await?;
        let reach = async {
            self.provider.pause(self.target()).await?;
            self.wait_for(|status| *status == Status::Paused).await
        };
        reach.await.map_err(|cause| skipped("cannot be paused", &cause))
    }

    /// Queries the status until it is as wanted.
    async fn wait_for(&self, wanted: impl Fn(&Status) -> bool) -> Result<Observation, Failure> {
        let deadline = Instant::now() + self.test_target.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = self.status().await?;
            if wanted(&seen.status) {
                return Ok(seen);
            }
            if Instant::now() + pause > deadline {
                let (timeout, word) =
                    (self.test_target.patience.as_secs_f64(), &seen.native_status);
                let message = format!("still {:?} ({word:?}) after {timeout} s", seen.status);
                return Err(Failure::new(ErrorCode::Timeout, message));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Repeats a call while it conflicts with another operation.
    async fn retry_on_conflict<R, F>(&self, call: impl Fn() -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let deadline = Instant::now() + self.test_target.patience;
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

/// The target runs or is starting.
fn is_up(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}

/// The target exists and does not run.
fn is_down(status: &Status) -> bool {
    matches!(status, Status::Stopped | Status::Failed)
}

/// `running, "Up 3 minutes"`
fn state(seen: &Observation) -> String {
    format!("{:?} ({:?})", seen.status, seen.native_status)
}

fn skipped(what: &str, cause: &Failure) -> NotPassed {
    NotPassed::Skipped(format!("the target {what}: {}", failure_text(cause)))
}

fn word(ability: Ability) -> String {
    match serde_json::to_value(ability) {
        Ok(serde_json::Value::String(word)) => format!("`{word}`"),
        _ => format!("{ability:?}"),
    }
}
