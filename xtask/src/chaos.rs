//! `cargo xtask chaos`: fault injection into containers, the engine and the router under constant load,
//! with a check of the origin of every response.
//!
//! Each request names its workload; each backend answers with its own name and records requests for
//! other workloads. A request that is not answered in time must be explained by a fault of its workload
//! at that time; otherwise the run fails.

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
use crate::{build, interrupt::Interrupt, soak::headers::now, workspace::Workspace};

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

/// Faults and their number.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of each fault; 0 skips them.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Run only these faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Minutes of random faults after the rounds.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// Seed of the random faults, to repeat an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Run 50 rounds of each fault and one hour of random faults.
    #[arg(long)]
    nightly: bool,
    /// Requests per second.
    #[arg(long, default_value_t = 250)]
    rate: u32,
    /// Delay of the engine's events in milliseconds.
    #[arg(long, default_value_t = 0)]
    late_events: u64,
    /// Log filter of the router.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: String,
    /// Number of containers under load.
    #[arg(long, default_value_t = 6)]
    workloads: usize,
}

/// Load before the first fault.
const WARM: Duration = Duration::from_secs(1);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = if env::var_os(variables::ROUTER).is_some() {
        Programs::from_env()
    } else {
        build::programs(workspace)?
    };
    chaos(workspace, &programs, options)?.into_result()
}

/// A short run as a test. Skipped if a requirement is missing.
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
        // A late response may be caused by a busy machine, a wrong one may not.
        Verdict::Unexplained => {
            println!(
                "some requests have no explanation; repeating the run, because the machine may be busy"
            );
            chaos(workspace, programs, &options)?.into_result()
        }
        verdict => verdict.into_result(),
    }
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// A request was lost, refused or late without a fault that explains it.
    Unexplained,
    /// A request was answered by the wrong workload, or delivered twice.
    Wrong,
}

// === impl Verdict ===

impl Verdict {
    fn into_result(self) -> Result<()> {
        match self {
            Self::Passed => Ok(()),
            Self::Unexplained => {
                bail!("requests were lost, refused or late without a fault that explains it")
            }
            Self::Wrong => {
                bail!("requests were answered by the wrong workload, or delivered twice")
            }
        }
    }
}

/// Injects the faults and judges every request.
fn chaos(workspace: &Workspace, programs: &Programs, options: &Options) -> Result<Verdict> {
    ensure!(options.workloads > 0, "--workloads must be at least 1");
    let interrupt = Interrupt::watch()?;
    let (rounds, minutes) =
        if options.nightly { (50, 60.0) } else { (options.rounds, options.minutes) };
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let stage = Stage::new(workspace, programs, options)?;
    println!(
        "\n{} requests per second to {} containers; the engine starts all of them in {:.2} s",
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
        println!("  random faults for {minutes} minutes (repeat with --seed {seed})");
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
        println!("router log and all faults: {}", file.display());
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

/// A run with the results of its scenarios.
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
    /// Injects faults under load and judges every request. An error only if the run was interrupted.
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
        report::add_starts(&load.timeline, &stage.names, &log);
        let mut summary = Summary::new(title, &load, &twice);
        let stall = load.timeline.longest_stall();
        if stall > Duration::from_millis(500) {
            println!("  runnable threads waited for up to {stall:?}; these times are not counted");
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
        // Delays of the first wakes are not caused by the faults that follow.
        let begin = now();
        let woken = self.stage.own_time() * 2;
        round.running.load.timeline.begin(Scope::All, Effect::Delays).recovered_in(woken);
        if !breaks {
            for workload in 0..self.stage.names.len() {
                round.wait_until_served(workload, begin)?;
            }
        }
        round.sleep(WARM)
    }

    /// Resource usage of the router after all workloads were awake and sleep again.
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

    /// Checks that without load all workloads sleep, and that resource usage is back to normal.
    fn settle(&mut self, before: Option<&Footprint>) {
        let settled = self.stage.wait_until_asleep().and_then(|()| {
            let Some(before) = before else { return Ok(()) };
            let after = before.wait_until_back(self.stage)?;
            println!("  router before: {before}\n  router after:  {after}");
            Ok(())
        });
        if let (Err(error), Some(last)) = (settled, self.report.last_mut()) {
            let what = format!("afterwards, without load: {error:#}");
            self.text += &format!("\n{what}\n");
            last.fault(what);
        }
    }
}
