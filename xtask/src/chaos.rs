//! `cargo xtask chaos`: containers, the engine and the router are broken under constant load, and
//! every answer is checked for who gave it.
//!
//! Each request says which workload it is meant for, and each backend answers with its own name and
//! notes requests that were meant for another. A request that was not answered in time has to be
//! explained by a fault of its workload at that moment; else the run has failed.

use std::{env, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use drowse_tests::{Docker, Programs, needs, programs::variables};

use self::{
    footprint::Footprint,
    ledger::delivered_twice,
    load::Running,
    report::Summary,
    rounds::{Kind, Round},
    stage::Stage,
    timeline::{Effect, Scope, Timeline},
};
use crate::{build, interrupt::Interrupt, soak::told::now, workspace::Workspace};

mod api;
pub(crate) mod backend;
mod footprint;
mod ledger;
mod load;
mod random;
mod report;
mod rounds;
mod stage;
mod timeline;

/// What to break, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of each fault. Zero leaves them out.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Only these faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Minutes of random faults afterwards.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// Repeats the random faults of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// As long as a night allows: 50 rounds of each fault and an hour of random ones.
    #[arg(long)]
    nightly: bool,
    /// Requests a second.
    #[arg(long, default_value_t = 250)]
    rate: u32,
    /// Milliseconds by which the engine's events arrive late.
    #[arg(long, default_value_t = 0)]
    late_events: u64,
    /// What the router logs.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: String,
    /// Containers under load.
    #[arg(long, default_value_t = 6)]
    workloads: usize,
}

/// Before the first fault every workload is served.
const WARM: Duration = Duration::from_secs(1);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = if env::var_os(variables::ROUTER).is_some() {
        Programs::from_env()
    } else {
        build::programs(workspace)?
    };
    chaos(workspace, &programs, options)?.accepted()
}

/// A short one, as a test. None where it cannot run, after saying so.
pub(crate) fn briefly(workspace: &Workspace, programs: &Programs) -> Result<()> {
    if let Some(lack) = Docker::lacks() {
        needs::skip("chaos", &lack);
        return Ok(());
    }
    let options = Options {
        rounds: 1,
        only: Vec::new(),
        minutes: 0.0,
        seed: None,
        nightly: false,
        rate: 120,
        late_events: 0,
        log: "info".to_owned(),
        workloads: 3,
    };
    match chaos(workspace, programs, &options)? {
        // A wrong answer is wrong on any machine. A late one may be the machine's: not twice.
        Verdict::Unexplained => {
            println!("some requests have no explanation; once more, as this machine may be busy");
            chaos(workspace, programs, &options)?.accepted()
        }
        verdict => verdict.accepted(),
    }
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// A request was lost, refused or late, and no fault explains it.
    Unexplained,
    /// A request was answered by the wrong workload, or served twice.
    Wrong,
}

// === impl Verdict ===

impl Verdict {
    fn accepted(self) -> Result<()> {
        match self {
            Self::Passed => Ok(()),
            Self::Unexplained => {
                bail!("requests were lost, refused or late without a fault that explains it")
            }
            Self::Wrong => bail!("requests were answered by the wrong workload, or served twice"),
        }
    }
}

/// Breaks what the options say and judges every request.
fn chaos(workspace: &Workspace, programs: &Programs, options: &Options) -> Result<Verdict> {
    ensure!(options.workloads > 0, "--workloads 0 breaks nothing");
    let interrupt = Interrupt::watch()?;
    let (rounds, minutes) =
        if options.nightly { (50, 60.0) } else { (options.rounds, options.minutes) };
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let stage = Stage::new(workspace, programs, options)?;
    println!(
        "\n{} requests a second over {} containers; the engine alone starts all of them in {:.2} s",
        options.rate,
        options.workloads,
        stage.own_time().as_secs_f64()
    );
    let mut run = Run {
        stage: &stage,
        interrupt: &interrupt,
        rate: options.rate,
        report: Vec::new(),
        text: String::new(),
        faults: String::new(),
    };
    let before = if minutes > 0.0 { Some(run.footprint()?) } else { None };
    let kinds = if options.only.is_empty() { Kind::value_variants() } else { &options.only };
    let mut ended = Ok(());
    if rounds > 0 {
        for kind in kinds {
            ended = run.scenario(kind.title(), false, |round| rounds_of(round, *kind, rounds));
            if interrupt.asked() {
                break;
            }
        }
    }
    if minutes > 0.0 && !interrupt.asked() {
        println!("  random faults for {minutes} minutes; --seed {seed} repeats them");
        let time = Duration::from_secs_f64(minutes * 60.0);
        ended = run.scenario(&format!("random, {minutes} min"), true, |round| {
            random::run(round, seed, time).map(drop)
        });
    }
    if !interrupt.asked() {
        run.settle(before.as_ref());
    }
    let failed = run.report.iter().any(|summary| !summary.passed());
    println!("{}", run.text);
    println!("{}", report::HEADER);
    for summary in &run.report {
        println!("{}", summary.line());
    }
    print!("{}", report::footnote(&run.report));
    if failed {
        let file = workspace.target().join("drowse-chaos.log");
        fs::write(&file, format!("{}\n\n{}", stage.log().join("\n"), run.faults))
            .with_context(|| format!("write {}", file.display()))?;
        println!("the router's log and all faults: {}", file.display());
    }
    ended?;
    stage.close()?;
    Ok(match failed {
        _ if run.report.iter().any(Summary::is_wrong) => Verdict::Wrong,
        true => Verdict::Unexplained,
        false => Verdict::Passed,
    })
}

fn rounds_of(round: &Round<'_>, kind: Kind, rounds: usize) -> Result<()> {
    (0..rounds).try_for_each(|number| round.run(kind, number % round.stage.names.len()))
}

/// The scenarios so far.
struct Run<'a> {
    stage: &'a Stage,
    interrupt: &'a Interrupt,
    rate: u32,
    report: Vec<Summary>,
    text: String,
    faults: String,
}

// === impl Run ===

impl Run<'_> {
    /// Does faults under load and judges every request. An error only when the user asked to end.
    fn scenario(
        &mut self,
        title: &str,
        breaks: bool,
        faults: impl FnOnce(&Round<'_>) -> Result<()>,
    ) -> Result<()> {
        let stage = self.stage;
        let running = Running::begin(
            stage.address(),
            &stage.names,
            self.rate,
            breaks,
            Timeline::new(stage.late),
        )?;
        let round = Round { stage, running: &running, interrupt: self.interrupt };
        let done = self.warm_up(&round, breaks).and_then(|()| faults(&round));
        let load = running.end();
        load.ledger.add_misdelivered(&stage.take_misdelivered()?, &stage.names);
        let twice = delivered_twice(&stage.take_posts()?);
        let log = stage.log();
        report::note_starts(&load.timeline, &stage.names, &log);
        let mut summary = Summary::new(title, &load, &twice);
        let stall = load.timeline.longest_stall();
        if stall > Duration::from_millis(500) {
            println!("  this machine let threads wait for up to {stall:?}: that is allowed for");
        }
        let asked = self.interrupt.asked();
        if let (Err(error), false) = (&done, asked) {
            summary.fault(format!("{error:#}"));
        }
        println!("  {} {}", report::clock(), summary.line());
        self.faults += &summary.faults(&load);
        self.text += &summary.violations(&load, &stage.names, &log);
        self.report.push(summary);
        if asked { done } else { Ok(()) }
    }

    fn warm_up(&self, round: &Round<'_>, breaks: bool) -> Result<()> {
        // It wakes what sleeps, which is no matter of the faults that follow.
        let begin = now();
        let woken = self.stage.own_time() * 2;
        round.running.load.timeline.begin(Scope::All, Effect::Delays).whole_in(woken);
        if !breaks {
            for workload in 0..self.stage.names.len() {
                round.wait_until_served(workload, begin)?;
            }
        }
        round.sleep(WARM)
    }

    /// What the router holds when everything has been awake once and sleeps.
    fn footprint(&mut self) -> Result<Footprint> {
        let running = Running::begin(
            self.stage.address(),
            &self.stage.names,
            self.rate,
            false,
            Timeline::default(),
        )?;
        let round = Round { stage: self.stage, running: &running, interrupt: self.interrupt };
        let begin = now();
        for workload in 0..self.stage.names.len() {
            round.wait_until_served(workload, begin)?;
        }
        round.sleep(WARM * 3)?;
        drop(running.end());
        self.stage.wait_until_asleep()?;
        Footprint::of(self.stage)
    }

    /// Without load everything sleeps again, and nothing is left.
    fn settle(&mut self, before: Option<&Footprint>) {
        let settled = self.stage.wait_until_asleep().and_then(|()| {
            let Some(before) = before else { return Ok(()) };
            let after = before.wait_until_back(self.stage)?;
            println!("  the router before: {before}\n  the router after:  {after}");
            Ok(())
        });
        if let (Err(error), Some(last)) = (settled, self.report.last_mut()) {
            let what = format!("afterwards, without load: {error:#}");
            self.text += &format!("\n{what}\n");
            last.fault(what);
        }
    }
}
