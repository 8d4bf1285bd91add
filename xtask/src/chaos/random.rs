//! Random faults. Their sequence is determined by a seed.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use fastrand::Rng;

use super::{
    rounds::{self, Round},
    timeline::{Effect, Scope},
};

/// A chosen fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Container { kind: rounds::Kind, victim: usize, inside: Inside },
    Wide(Wide),
}

/// Action between the steps of a container fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Nothing(Duration),
    RouterKilled,
}

/// A fault of the engine or the router, which affects all workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wide {
    /// SIGSTOP to the engine, and SIGCONT three seconds later.
    EngineFrozen,
    /// SIGTERM to the engine, which stops all containers, and a restart.
    EngineTerminated,
    /// SIGKILL to the engine, and a restart.
    EngineKilled,
    /// SIGKILL to the router, and a restart.
    RouterKilled,
}

/// Time between SIGSTOP and SIGCONT to the engine.
const FROZEN: Duration = Duration::from_secs(3);

/// Delay after the restart of the engine until containers that it cannot start are recreated.
const REPAIR: Duration = Duration::from_secs(2);

/// An endless sequence of faults.
pub(super) struct Plan {
    random: Rng,
    workloads: usize,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(seed: u64, workloads: usize) -> Self {
        Self { random: Rng::with_seed(seed), workloads }
    }

    /// The next fault and the pause after it. The sequence depends only on the seed.
    pub(super) fn next(&mut self) -> (Choice, Duration) {
        let random = &mut self.random;
        let choice = match random.u8(..24) {
            0 => Choice::Wide(Wide::EngineFrozen),
            1 => Choice::Wide(Wide::EngineTerminated),
            2 => Choice::Wide(Wide::EngineKilled),
            3 => Choice::Wide(Wide::RouterKilled),
            _ => {
                let kinds = rounds::Kind::value_variants();
                let inside = match random.u8(..12) {
                    0 => Inside::RouterKilled,
                    _ => Inside::Nothing(Duration::from_millis(random.u64(..2_000))),
                };
                Choice::Container {
                    kind: kinds[random.usize(..kinds.len())],
                    victim: random.usize(..self.workloads),
                    inside,
                }
            }
        };
        (choice, Duration::from_millis(random.u64(..2_000)))
    }
}

/// Injects random faults for `time`, then waits until all workloads are served again.
pub(super) fn run(round: &Round<'_>, seed: u64, time: Duration) -> Result<u64> {
    let mut plan = Plan::new(seed, round.stage.names.len());
    let (begin, mut done, mut last_progress) = (Instant::now(), 0, Instant::now());
    while begin.elapsed() < time {
        let (choice, pause) = plan.next();
        match choice {
            Choice::Container { kind, victim, inside } => {
                round.fault(kind, victim, &|| match inside {
                    Inside::Nothing(time) => round.sleep(time),
                    Inside::RouterKilled => wide(round, Wide::RouterKilled),
                })?;
                if kind == rounds::Kind::Pause {
                    // In case the router has not resumed it.
                    round.stage.unpause(&round.stage.names[victim])?;
                }
            }
            Choice::Wide(fault) => wide(round, fault)?,
        }
        done += 1;
        round.stage.ensure_router_runs()?;
        if last_progress.elapsed() > Duration::from_secs(30) {
            last_progress = Instant::now();
            let seconds = begin.elapsed().as_secs();
            println!(
                "  {seconds} s, {done} faults, {} requests",
                round.running.load.ledger.requests()
            );
        }
        round.sleep(pause)?;
    }
    // Longer than the periods without requests.
    round.sleep(Duration::from_secs(9))?;
    Ok(done)
}

fn wide(round: &Round<'_>, fault: Wide) -> Result<()> {
    let (stage, load) = (round.stage, &round.running.load);
    match fault {
        Wide::EngineFrozen => {
            let open = load.timeline.begin(Scope::All, Effect::Delays);
            let frozen = stage.docker.freeze()?;
            open.step("SIGSTOP to the engine");
            let slept = round.sleep(FROZEN);
            drop(frozen);
            open.step("SIGCONT to the engine");
            open.recovered_in(stage.own_time());
            slept
        }
        Wide::EngineTerminated | Wide::EngineKilled => {
            let open = load.timeline.begin(Scope::All, Effect::Breaks);
            if fault == Wide::EngineKilled {
                stage.docker.crash()?;
                open.step("SIGKILL to the engine");
            } else {
                stage.docker.terminate()?;
                open.step("SIGTERM to the engine, which has ended");
            }
            stage.docker.start_again()?;
            open.step("engine started again");
            // An engine that ends during a start can leave a task that it does not know afterwards.
            // Requests start the containers that the engine can start.
            round.sleep(REPAIR)?;
            for name in stage.replace_broken()? {
                open.step(format!("the engine cannot start {name} any more: recreated"));
            }
            open.recovered_in(stage.own_time());
            Ok(())
        }
        Wide::RouterKilled => {
            let open = load.timeline.begin(Scope::All, Effect::Breaks);
            load.down(true);
            stage.kill_router(|| round.sleep(Duration::from_millis(200)))?;
            load.down(false);
            open.step("SIGKILL to the router, which is back");
            open.recovered();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_faults() {
        let choices = |seed| {
            let mut plan = Plan::new(seed, 6);
            (0..200).map(|_| plan.next()).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        let wide = |(choice, _): &(Choice, _)| matches!(choice, Choice::Wide(_));
        assert!(choices(7).iter().any(wide));
    }
}
