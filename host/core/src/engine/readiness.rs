//! Probing a workload until it is ready.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::Workload;
use crate::{
    names::Generation,
    provider::{Exit, Failure, Health, Observation},
    spec::ReadyCheck,
    step::{Input, Priority},
};

/// How the pause between probes grows.
struct Pace {
    /// Pause during [`BURST`], in which many programs open their port.
    burst: Duration,
    /// Pause until [`EAGER`].
    first: Duration,
    /// Maximum pause after that.
    last: Duration,
}

/// Probes from outside, which cost little.
const OUTSIDE: Pace = Pace {
    burst: Duration::from_millis(1),
    first: Duration::from_millis(5),
    last: Duration::from_millis(250),
};
/// Probes through the provider, each a call to its platform.
const INSIDE: Pace = Pace {
    burst: Duration::from_millis(50),
    first: Duration::from_millis(50),
    last: Duration::from_secs(1),
};
/// Time since the start of probing with pauses of [`Pace::burst`].
const BURST: Duration = Duration::from_millis(25);
/// Time since the start of probing before pauses grow beyond [`Pace::first`].
const EAGER: Duration = Duration::from_secs(1);
/// Time of failing probes after which the status is queried. Doubles up to [`LAST_QUERY`].
const FIRST_QUERY: Duration = Duration::from_secs(1);
const LAST_QUERY: Duration = Duration::from_secs(5);
/// Maximum time of a command that checks readiness.
const COMMAND: Duration = Duration::from_secs(30);

impl Workload {
    /// Probes until the workload is ready: eagerly at first, then less and less often, and at once
    /// when the provider reports a change.
    pub(super) async fn probe(self: &Arc<Self>, generation: Generation, life: &Observation) {
        let pace = match self.spec.ready {
            ReadyCheck::Health | ReadyCheck::Completed | ReadyCheck::Exec { .. } => INSIDE,
            _ => OUTSIDE,
        };
        let (began, mut pause, mut last) = (Instant::now(), pace.burst, String::new());
        let mut next_query = FIRST_QUERY;
        loop {
            match self.check_once(&self.spec.ready, life).await {
                Ok(()) => return,
                Err(seen) if seen != last => {
                    tracing::debug!(workload = %self.spec.name, %generation, seen, "not ready");
                    self.apply(Input::NotReady(generation, seen.as_str().into()));
                    last = seen;
                }
                Err(_) => {}
            }
            // Its address may have changed, and the event that reports that may be lost.
            if began.elapsed() > next_query {
                next_query = began.elapsed() + next_query.min(LAST_QUERY);
                self.apply(Input::QueryStatus(Priority::Urgent));
            }
            let changed = timeout(pause, self.probe_now.notified()).await.is_ok();
            pause = match began.elapsed() {
                early if early < BURST => pace.burst,
                late if late > EAGER && !changed => (pause * 5 / 4).min(pace.last),
                _ => pace.first,
            };
        }
    }

    /// Checks readiness once; the error describes the state found instead.
    pub(super) async fn check_once(
        self: &Arc<Self>,
        check: &ReadyCheck,
        life: &Observation,
    ) -> Result<(), String> {
        match check {
            ReadyCheck::Health => self.check_health().await,
            ReadyCheck::Exec { command } => self.check_command(command).await,
            // The phase machine decides by the observation how the job ended.
            ReadyCheck::Completed => {
                self.apply(Input::QueryStatus(Priority::Urgent));
                Err("it has not ended yet".to_owned())
            }
            check => {
                let checked = self.shared.prober.probe(check, &life.addresses, &**self).await;
                match &life.detail {
                    // Only the provider knows why there is no address.
                    Some(why) if life.addresses.is_empty() => {
                        checked.map_err(|seen| format!("{seen}: {why}"))
                    }
                    _ => checked,
                }
            }
        }
    }

    async fn check_health(&self) -> Result<(), String> {
        let seen = self.query_status().await.map_err(|failure| failure.message)?;
        match seen.health {
            Health::Healthy => Ok(()),
            Health::None => {
                Err("its platform has no health check for it: define one, or another `ready`"
                    .into())
            }
            Health::Starting => Err("its health check has not passed yet".to_owned()),
            Health::Unhealthy => Err("its health check fails".to_owned()),
            Health::Other(word) => Err(format!("its health is {word:?}")),
        }
    }

    async fn check_command(&self, command: &[String]) -> Result<(), String> {
        let exit = self.run_inside(command, COMMAND).await.map_err(|failure| failure.message)?;
        match exit.status {
            0 => Ok(()),
            status => {
                let line = exit.output.last().map(|line| format!(": {line}")).unwrap_or_default();
                Err(format!("{} ended with exit status {status}{line}", command.join(" ")))
            }
        }
    }

    /// Runs a command inside the target, for at most `limit`.
    pub(super) async fn run_inside(
        &self,
        command: &[String],
        limit: Duration,
    ) -> Result<Exit, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let call = provider.exec(&self.spec.target, command);
        self.within(limit, "run a command in", call).await
    }
}
