//! Whether a workload is ready, and whether something speaks against its sleep.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::Workload;
use crate::{
    names::Generation,
    provider::{ErrorCode, Exit, Failure, Health, Observation},
    spec::{ReadyCheck, Veto},
    step::{Input, Priority},
};

/// How the pauses between probes grow.
struct Pace {
    /// In the very beginning, when many a program is about to open its port.
    hasty: Duration,
    first: Duration,
    last: Duration,
}

/// From outside: eager, as a look costs little.
const OUTSIDE: Pace = Pace {
    hasty: Duration::from_millis(1),
    first: Duration::from_millis(5),
    last: Duration::from_millis(250),
};
/// Through the provider: each look is a call to its platform.
const INSIDE: Pace = Pace {
    hasty: Duration::from_millis(50),
    first: Duration::from_millis(50),
    last: Duration::from_secs(1),
};
/// For so long the pause is hasty.
const HASTE: Duration = Duration::from_millis(25);
/// For so long the pause stays at its shortest.
const EAGER: Duration = Duration::from_secs(1);
/// The provider is asked again what it is when probes have failed for this long, and later again
/// after twice the time, up to [`LAST_DOUBT`].
const FIRST_DOUBT: Duration = Duration::from_secs(1);
const LAST_DOUBT: Duration = Duration::from_secs(5);
/// A command that is run to see whether it is ready may take so long.
const COMMAND: Duration = Duration::from_secs(30);
/// What may speak against sleeping has so long to do it.
const QUESTION: Duration = Duration::from_secs(10);

impl Workload {
    /// Looks until it is ready: eagerly at first, then less and less often, and at once when the
    /// provider reports a change.
    pub(super) async fn probe(self: &Arc<Self>, generation: Generation, life: &Observation) {
        let pace = match self.spec.ready {
            ReadyCheck::Health | ReadyCheck::Completed | ReadyCheck::Exec { .. } => INSIDE,
            _ => OUTSIDE,
        };
        let (began, mut pause, mut last) = (Instant::now(), pace.hasty, String::new());
        let mut doubt = FIRST_DOUBT;
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
            // It may be elsewhere by now, and the event that tells of it may be lost.
            if began.elapsed() > doubt {
                doubt = began.elapsed() + doubt.min(LAST_DOUBT);
                self.apply(Input::QueryStatus(Priority::Urgent));
            }
            let nudged = timeout(pause, self.nudge.notified()).await.is_ok();
            pause = match began.elapsed() {
                early if early < HASTE => pace.hasty,
                late if late > EAGER && !nudged => (pause * 5 / 4).min(pace.last),
                _ => pace.first,
            };
        }
    }

    async fn check_once(
        self: &Arc<Self>,
        check: &ReadyCheck,
        life: &Observation,
    ) -> Result<(), String> {
        match check {
            ReadyCheck::Health => self.health().await,
            ReadyCheck::Exec { command } => self.exec(command).await,
            // The machine itself decides how it ended.
            ReadyCheck::Completed => {
                self.apply(Input::QueryStatus(Priority::Urgent));
                Err("it has not ended yet".to_owned())
            }
            check => {
                let seen = self.shared.prober.probe(check, &life.addresses, &**self).await;
                match &life.detail {
                    // Why there is none, only the provider knows.
                    Some(why) if life.addresses.is_empty() => {
                        seen.map_err(|seen| format!("{seen}: {why}"))
                    }
                    _ => seen,
                }
            }
        }
    }

    async fn health(&self) -> Result<(), String> {
        let seen = self.status_now().await.map_err(|failure| failure.message)?;
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

    async fn exec(&self, command: &[String]) -> Result<(), String> {
        let exit = self.run_inside(command, COMMAND).await.map_err(|failure| failure.message)?;
        match exit.status {
            0 => Ok(()),
            status => {
                let line = exit.output.last().map(|line| format!(": {line}")).unwrap_or_default();
                Err(format!("{} ended with exit status {status}{line}", command.join(" ")))
            }
        }
    }

    async fn run_inside(&self, command: &[String], patience: Duration) -> Result<Exit, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let call = provider.exec(&self.spec.target, command);
        self.within(patience, "run a command in", call).await
    }

    /// Asks everything that may speak against sleeping, at the same time.
    pub(super) fn ask(self: &Arc<Self>, ticket: u64) -> AbortHandle {
        let workload = self.clone();
        self.spawn(async move {
            let vetoes = workload.spec.vetoes.iter().map(|veto| workload.objection(veto));
            let objections = join_all(vetoes).await;
            match objections.into_iter().flatten().next() {
                Some(reason) => {
                    tracing::debug!(workload = %workload.spec.name, reason, "kept awake");
                    workload.apply(Input::Vetoed(ticket, reason));
                }
                None => workload.apply(Input::MaySleep(ticket)),
            }
        })
    }

    /// Why it should not sleep now. What cannot be found out is no reason, unless the platform
    /// itself does not answer.
    async fn objection(self: &Arc<Self>, veto: &Veto) -> Option<String> {
        let instance = self.instance.load_full()?;
        let addresses = &instance.observation().addresses;
        match veto {
            Veto::CpuAbove(limit) => match self.cpu().await {
                Ok(Some(percent)) if percent > *limit => {
                    Some(format!("it uses {percent:.0} % of a core"))
                }
                Ok(_) => None,
                Err(failure) => self.unanswered("its usage is unknown", &failure),
            },
            Veto::Busy(ReadyCheck::Exec { command }) => {
                let _turn = self.shared.routine_turn(&self.spec.provider).await;
                match self.run_inside(command, QUESTION).await {
                    Ok(exit) => (exit.status == 0).then(|| "it says that it is busy".to_owned()),
                    Err(failure) => self.unanswered("its command could not be run", &failure),
                }
            }
            Veto::Busy(check) => {
                let look = self.check_once(check, instance.observation());
                let busy = matches!(timeout(QUESTION, look).await, Ok(Ok(())));
                busy.then(|| "it says that it is busy".to_owned())
            }
            Veto::PlayersOnline(port) => {
                let count = self.shared.prober.players(addresses, *port, &**self);
                match timeout(QUESTION, count).await {
                    Ok(Ok(0) | Err(_)) | Err(_) => None,
                    Ok(Ok(players)) => Some(format!("{players} players are online")),
                }
            }
        }
    }

    /// What a question means that its platform has not answered: it stays awake, unless no question
    /// of this kind is ever answered.
    fn unanswered(&self, what: &str, failure: &Failure) -> Option<String> {
        if failure.code != ErrorCode::Unsupported {
            return Some(format!("{what}: {}", failure.message));
        }
        let (workload, error) = (&self.spec.name, &failure.message);
        tracing::warn!(%workload, error, "what should keep it awake cannot be asked");
        None
    }

    async fn cpu(&self) -> Result<Option<f64>, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let _turn = self.shared.routine_turn(&self.spec.provider).await;
        let usage = self.within(QUESTION, "usage of", provider.usage(&self.spec.target)).await?;
        Ok(usage.cpu_percent)
    }
}
