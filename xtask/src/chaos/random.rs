//! Random faults: which ones, and in which order, follows from a seed.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use fastrand::Rng;

use super::{
    rounds::{self, Round},
    timeline::{Effect, Scope},
};

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Container { kind: rounds::Kind, victim: usize, inside: Inside },
    Wide(Wide),
}

/// What happens between the steps of a container's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Nothing(Duration),
    RouterKilled,
}

/// A fault of what all workloads depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wide {
    /// SIGSTOP, and SIGCONT three seconds later.
    EngineFrozen,
    /// SIGTERM, which stops all containers, and started again.
    EngineTerminated,
    /// SIGKILL, and started again.
    EngineKilled,
    /// SIGKILL, and started again at once or a moment later.
    RouterKilled,
}

/// How long the engine is stopped.
const FROZEN: Duration = Duration::from_secs(3);

/// From the start of an engine that had ended until the containers that it cannot start are recreated.
const REPAIR: Duration = Duration::from_secs(2);

/// Faults without end.
pub(super) struct Plan {
    random: Rng,
    workloads: usize,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(seed: u64, workloads: usize) -> Self {
        Self { random: Rng::with_seed(seed), workloads }
    }

    /// The next fault and the pause after it. The sequence depends on nothing but the seed.
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

/// Does random faults for so long, and waits until everything is served again.
pub(super) fn run(round: &Round<'_>, seed: u64, time: Duration) -> Result<u64> {
    let mut plan = Plan::new(seed, round.stage.names.len());
    let (begin, mut done, mut told) = (Instant::now(), 0, Instant::now());
    while begin.elapsed() < time {
        let (choice, pause) = plan.next();
        match choice {
            Choice::Container { kind, victim, inside } => {
                round.fault(kind, victim, &|| match inside {
                    Inside::Nothing(time) => round.sleep(time),
                    Inside::RouterKilled => wide(round, Wide::RouterKilled),
                })?;
                if kind == rounds::Kind::Pause {
                    // By hand, should the router not have done it.
                    round.stage.unpause(&round.stage.names[victim])?;
                }
            }
            Choice::Wide(fault) => wide(round, fault)?,
        }
        done += 1;
        round.stage.ensure_router_runs()?;
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            let seconds = begin.elapsed().as_secs();
            println!(
                "  {seconds} s, {done} faults, {} requests",
                round.running.load.ledger.requests()
            );
        }
        round.sleep(pause)?;
    }
    // Each workload has its time without requests.
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
            open.whole_in(stage.own_time());
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
            // The visitors have it start the containers that it can.
            round.sleep(REPAIR)?;
            for name in stage.replace_broken()? {
                open.step(format!("the engine cannot start {name} any more: recreated"));
            }
            open.whole_in(stage.own_time());
            Ok(())
        }
        Wide::RouterKilled => {
            let open = load.timeline.begin(Scope::All, Effect::Breaks);
            load.down(true);
            stage.kill_router(|| round.sleep(Duration::from_millis(200)))?;
            load.down(false);
            open.step("SIGKILL to the router, which is back");
            open.whole();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_again() {
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
