//! Rounds of one kind of fault, applied to one workload after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::{
    load::Running,
    stage::{SPARE, Stage},
    timeline::{Effect, Open, Scope},
};
use crate::{interrupt::Interrupt, soak::headers::now};

/// A container fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// `rm -f A`, then `start B`, which gets A's address; then A is created again.
    HandOver,
    /// `rm -f` and `create` of the same name.
    Recreate,
    /// `network disconnect`, and `connect` three seconds later.
    Disconnect,
    /// `network disconnect`, then another container gets the address; then `connect`.
    DisconnectHandOver,
    /// `docker restart`.
    Restart,
    /// `docker stop`.
    Stop,
    /// `docker kill`.
    Kill,
    /// `docker pause`.
    Pause,
    /// `docker rename`: two containers swap their names, and later swap them back.
    Rename,
}

/// Context of a fault.
pub(super) struct Round<'a> {
    pub(super) stage: &'a Stage,
    pub(super) running: &'a Running,
    pub(super) interrupt: &'a Interrupt,
}

/// Temporary name of a container during a swap of names.
const SWAP: &str = "swap";
/// Time between the steps of a fault.
const BETWEEN: Duration = Duration::from_millis(500);
/// Time of a disconnect. Longer than the permitted silence of a stream.
const APART: Duration = Duration::from_secs(3);
/// Time between faults.
const PAUSE: Duration = Duration::from_millis(600);
/// Timeout until the workload is served again. Shorter delays are judged later.
const SERVED: Duration = Duration::from_secs(30);

// === impl Kind ===

impl Kind {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::HandOver => "rm -f A; start B",
            Self::Recreate => "rm -f A; create A",
            Self::Disconnect => "disconnect; connect",
            Self::DisconnectHandOver => "disconnect A; start B",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Rename => "rename A to B, B to A",
        }
    }
}

// === impl Round ===

impl Round<'_> {
    /// Applies a fault to a workload under load, and waits until it is served again.
    pub(super) fn run(&self, kind: Kind, victim: usize) -> Result<()> {
        let apart = match kind {
            Kind::Disconnect => APART,
            // As `docker compose up` does.
            Kind::Recreate => Duration::ZERO,
            _ => BETWEEN,
        };
        self.fault(kind, victim, &|| self.sleep(apart))?;
        let recovered = now();
        self.wait_until_served(victim, recovered)?;
        self.sleep(PAUSE)
    }

    /// Applies a fault. `between` runs between its steps.
    pub(super) fn fault(
        &self,
        kind: Kind,
        victim: usize,
        between: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let (stage, name) = (self.stage, &self.stage.names[victim]);
        let begin = || self.running.load.timeline.begin(Scope::Workload(victim), Effect::Breaks);
        match kind {
            Kind::HandOver => {
                let address = stage.address_of(name)?;
                stage.create(SPARE, address.as_deref())?;
                let fault = begin();
                stage.remove(name)?;
                self.hand_over(&fault, &format!("rm -f {name}"), address.as_deref(), between)?;
                stage.create(name, None)?;
                fault.step(format!("create {name}"));
                fault.recovered();
                stage.remove(SPARE)
            }
            Kind::DisconnectHandOver => {
                let Some(address) = stage.address_of(name)? else { return between() };
                stage.create(SPARE, Some(&address))?;
                let fault = begin();
                stage.disconnect(name)?;
                fault.gone();
                let done = format!("network disconnect {name}");
                self.hand_over(&fault, &done, Some(&address), between)?;
                stage.connect(name)?;
                fault.step(format!("network connect {name}"));
                fault.recovered();
                stage.remove(SPARE)
            }
            Kind::Recreate => {
                let fault = begin();
                stage.remove(name)?;
                fault.step(format!("rm -f {name}"));
                between()?;
                stage.create(name, None)?;
                fault.step(format!("create {name}"));
                fault.recovered();
                Ok(())
            }
            Kind::Disconnect => {
                let fault = begin();
                stage.disconnect(name)?;
                fault.gone();
                fault.step(format!("network disconnect {name}"));
                between()?;
                stage.connect(name)?;
                fault.step(format!("network connect {name}"));
                fault.recovered();
                Ok(())
            }
            Kind::Restart => {
                self.simple(begin(), &format!("restart {name}"), || stage.restart(name))
            }
            Kind::Stop => self.simple(begin(), &format!("stop {name}"), || stage.stop(name)),
            Kind::Kill => self.simple(begin(), &format!("kill {name}"), || stage.kill(name)),
            Kind::Rename => {
                let other = (victim + 1) % stage.names.len();
                self.swap(victim, other)?;
                between()?;
                self.sleep(PAUSE)?;
                self.swap(victim, other)
            }
            Kind::Pause => self.simple(begin(), &format!("pause {name}"), || stage.pause(name)),
        }
    }

    fn simple(&self, fault: Open<'_>, what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        work()?;
        fault.step(what);
        fault.recovered();
        Ok(())
    }

    /// Swaps the names of two containers, and thereby their visitors.
    fn swap(&self, one: usize, other: usize) -> Result<()> {
        if one == other {
            return Ok(());
        }
        let timeline = &self.running.load.timeline;
        let [first, second] =
            [one, other].map(|workload| timeline.begin(Scope::Workload(workload), Effect::Renames));
        let (one_name, other_name) = (&self.stage.names[one], &self.stage.names[other]);
        for (from, to) in [(&**one_name, SWAP), (other_name, one_name), (SWAP, other_name)] {
            self.stage.rename(from, to)?;
            first.step(format!("rename {from} {to}"));
        }
        self.running.load.swap(one, other);
        first.recovered();
        second.recovered();
        Ok(())
    }

    /// Starts the spare container with an address that another container has just released.
    fn hand_over(
        &self,
        fault: &Open<'_>,
        done: &str,
        address: Option<&str>,
        between: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        // Recorded after the start, so that the two follow each other immediately.
        let left = now();
        self.stage.start(SPARE)?;
        fault.step_at(left, done);
        fault.step(format!("start {SPARE}"));
        let given = self.stage.address_of(SPARE)?;
        ensure!(address.is_none() || given.as_deref() == address, "{SPARE} got {given:?}");
        between()?;
        self.running.ask(SPARE);
        Ok(())
    }

    /// Waits for a response to a request that was sent after `moment`.
    pub(super) fn wait_until_served(&self, workload: usize, moment: u64) -> Result<()> {
        let begin = Instant::now();
        while !self.running.load.ledger.served_since(workload, moment) {
            self.stage.ensure_router_runs()?;
            let name = &self.stage.names[workload];
            ensure!(begin.elapsed() < SERVED, "{name} is not served again within {SERVED:?}");
            self.sleep(Duration::from_millis(20))?;
        }
        Ok(())
    }

    pub(super) fn sleep(&self, time: Duration) -> Result<()> {
        self.interrupt.sleep(time).then_some(()).context("interrupted")
    }
}
