//! `cargo xtask soak`: real sleep/wake cycles under constant load, without lost requests.
//!
//! Several workloads with a very short idle time sleep and wake behind one router, with clients of all
//! kinds, many of which send requests at the moment at which a workload goes to sleep. Every response is
//! checked to the last byte, and must come from a backend that is not stopping.

use std::{
    env, fmt, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use drowse_tests::{Home, Programs, Router, memory::Memory, ports, programs::variables};
use tokio::{runtime::Runtime, task::JoinSet};

use self::{journal::Reader, site::Site, tally::Tally};
use crate::{build, interrupt::Interrupt, workspace::Workspace};

pub(crate) mod backend;
pub(crate) mod content;
pub(crate) mod headers;
mod journal;
pub(crate) mod site;
pub(crate) mod tally;
pub(crate) mod visitors;

/// Size of the run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of sleep/wake cycles, over all workloads.
    #[arg(long, default_value_t = 10_000)]
    cycles: u64,
    /// Number of workloads.
    #[arg(long, default_value_t = 8)]
    workloads: usize,
    /// Idle time of the workloads in milliseconds.
    #[arg(long, default_value_t = 60)]
    idle: u64,
}

/// A workload and the journal of its backends.
struct SoakWorkload {
    name: String,
    port: u16,
    journal: PathBuf,
    reader: Reader,
}

/// A running soak.
struct Soak {
    workloads: Vec<SoakWorkload>,
    tally: Arc<Tally>,
    closing: Arc<AtomicBool>,
    begin: Instant,
    /// Number of cycles so far, and the time of its last increase.
    cycles: u64,
    grown: Instant,
}

/// Interval of reading the journals.
const POLL: Duration = Duration::from_millis(100);
/// Interval of progress lines.
const PROGRESS: Duration = Duration::from_secs(10);
/// Time without a cycle after which the run fails.
const STUCK: Duration = Duration::from_secs(60);
/// Maximum time from the last request until all workloads sleep.
const PATIENCE: Duration = Duration::from_secs(90);
/// Number of losses after which the run ends.
const ENOUGH: u64 = 100;

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = if env::var_os(variables::ROUTER).is_some() {
        Programs::from_env()
    } else {
        build::programs(workspace)?
    };
    // An interrupted run is not an error.
    soak(workspace, &programs, options).map(drop)
}

/// A short run as a test.
pub(crate) fn briefly(workspace: &Workspace, programs: &Programs) -> Result<()> {
    let options = Options { cycles: 300, workloads: 8, idle: 60 };
    ensure!(soak(workspace, programs, &options)?, "interrupted");
    Ok(())
}

/// Runs the soak. False if it was interrupted before all cycles; an error if a request was lost.
fn soak(workspace: &Workspace, programs: &Programs, options: &Options) -> Result<bool> {
    ensure!(options.workloads > 0, "--workloads must be at least 1");
    let interrupt = Interrupt::watch()?;
    let home = Home::new(programs)?.cache(&workspace.compiled());
    let mut soak = Soak::new(&home, options)?;
    home.configure(&soak.tables(options.idle)?)?;
    let mut router = home.own_process_group().start()?;
    println!(
        "\n{} workloads with an idle time of {} ms, seven clients each, {} cycles",
        options.workloads, options.idle, options.cycles
    );

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let visitors = soak.visitors(&runtime, &router, Duration::from_millis(options.idle));
    let ended = soak.follow(&mut router, &interrupt, options.cycles).and_then(|()| {
        soak.close(&runtime, visitors);
        soak.settle(&router)
    });
    println!("\n{soak}");
    if ended.is_err() || soak.tally.losses() > 0 {
        let file = workspace.target().join("drowse-soak.log");
        fs::write(&file, router.log().since(0).join("\n"))
            .with_context(|| format!("write {}", file.display()))?;
        println!("log       {}", file.display());
    }
    ended?;
    router.stop()?;
    ensure!(soak.tally.losses() == 0, "{} losses", soak.tally.losses());
    Ok(soak.cycles >= options.cycles)
}

// === impl Soak ===

impl Soak {
    fn new(home: &Home, options: &Options) -> Result<Self> {
        let workloads = (0..options.workloads).map(|number| {
            let name = format!("w{number}");
            let journal = home.path().join(format!("{name}.journal"));
            Ok(SoakWorkload { port: ports::free()?, reader: Reader::new(&journal), journal, name })
        });
        Ok(Self {
            workloads: workloads.collect::<Result<_>>()?,
            tally: Arc::default(),
            closing: Arc::default(),
            begin: Instant::now(),
            cycles: 0,
            grown: Instant::now(),
        })
    }

    /// Configuration tables. Backends differ in their start and stop times.
    fn tables(&self, idle: u64) -> Result<String> {
        let program = env::current_exe().context("find this program")?;
        let mut commands = "[provider.process]\nplugin = \"process\"\n".to_owned();
        let mut tables = String::new();
        for (number, SoakWorkload { name, port, journal, .. }) in self.workloads.iter().enumerate()
        {
            let (boot, linger) = ([0, 0, 5, 20][number % 4], [0, 10, 30, 3, 60][number % 5]);
            let words = [
                program.display().to_string(),
                "soak-backend".to_owned(),
                format!("--port={port}"),
                format!("--journal={}", journal.display()),
                format!("--boot={boot}"),
                format!("--linger={linger}"),
            ];
            commands += &format!("command.{name} = {{ run = {words:?} }}\n");
            tables += &format!(
                "\n[workload.{name}]\nprovider = \"process\"\nidle = \"{idle}ms\"\n\n\
                 [[route]]\nhost = \"{name}.soak\"\nworkload = \"{name}\"\nport = {port}\n",
            );
        }
        Ok(commands + &tables)
    }

    fn visitors(&self, runtime: &Runtime, router: &Router, idle: Duration) -> JoinSet<()> {
        let _inside = runtime.enter();
        let mut visitors = JoinSet::new();
        for workload in &self.workloads {
            let host = format!("{}.soak", workload.name);
            let (tally, closing) = (self.tally.clone(), self.closing.clone());
            let site = Site::new(router.address(), host, idle, tally, closing);
            visitors::begin(&Arc::new(site), &mut visitors);
        }
        visitors
    }

    /// Waits until the cycles are done or the run is interrupted.
    fn follow(&mut self, router: &mut Router, interrupt: &Interrupt, enough: u64) -> Result<()> {
        let mut last_progress = Instant::now();
        while interrupt.sleep(POLL) {
            self.read()?;
            if let Some(status) = router.ended()? {
                bail!("the router exited ({status}); its log:\n{}", router.log().tail(20));
            }
            ensure!(
                self.grown.elapsed() < STUCK,
                "no workload went to sleep for {STUCK:?}; the router's status: {:#}",
                router.status()?,
            );
            if self.cycles >= enough || self.tally.losses() >= ENOUGH {
                return Ok(());
            }
            if last_progress.elapsed() >= PROGRESS {
                last_progress = Instant::now();
                println!("  {}", self.progress());
            }
        }
        println!("  interrupted");
        Ok(())
    }

    /// Reads the new lines of the journals.
    fn read(&mut self) -> Result<()> {
        let before = self.cycles;
        self.cycles = 0;
        for workload in &mut self.workloads {
            for fault in workload.reader.read()? {
                self.tally.lost(format!("the backend of {} {fault}", workload.name));
            }
            self.cycles += workload.reader.ended();
        }
        if self.cycles > before {
            self.grown = Instant::now();
        }
        Ok(())
    }

    /// Stops sending requests and waits for the clients to finish.
    fn close(&self, runtime: &Runtime, mut visitors: JoinSet<()>) {
        self.closing.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            let all = async { while visitors.join_next().await.is_some() {} };
            // Clients that are left are counted below.
            let _ = tokio::time::timeout(PATIENCE, all).await;
        });
        for _ in 0..visitors.len() {
            self.tally.lost("a client got no response");
        }
    }

    /// Checks that all workloads sleep, in the router and in the journals of the backends.
    fn settle(&mut self, router: &Router) -> Result<()> {
        for workload in &self.workloads {
            router.wait_for_phase(&workload.name, "asleep", PATIENCE)?;
        }
        self.read()?;
        for workload in self.workloads.iter().filter(|workload| workload.reader.runs()) {
            self.tally.lost(format!("{} is asleep, but its backend is running", workload.name));
        }
        let memory = Memory::of(router.id())?;
        println!(
            "  all workloads sleep; the router uses {} MiB of memory, peak {} MiB",
            memory.resident >> 20,
            memory.peak >> 20
        );
        Ok(())
    }

    fn progress(&self) -> String {
        format!(
            "{:6.0} s  {:>6} cycles  {:>7} requests  {} losses",
            self.begin.elapsed().as_secs_f64(),
            self.cycles,
            self.tally.requests(),
            self.tally.losses()
        )
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.begin.elapsed().as_secs_f64();
        writeln!(
            f,
            "cycles    {} in {took:.0} s, {:.1} a second, of {} workloads",
            self.cycles,
            self.cycles as f64 / took,
            self.workloads.len()
        )?;
        self.tally.fmt(f)
    }
}
