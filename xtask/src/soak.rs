//! `cargo xtask soak`: real sleep/wake cycles under constant traffic, and nobody lost.
//!
//! Several workloads with a very short idle time sleep and wake behind one router while visitors of
//! all kinds come and go, many of them at the very moment at which a workload goes to sleep. Every
//! answer is checked to the last byte, and to come from a backend that was not stopping.

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
mod journal;
pub(crate) mod site;
pub(crate) mod tally;
pub(crate) mod told;
pub(crate) mod visitors;

/// How long to soak.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after so many lives of backends, over all workloads.
    #[arg(long, default_value_t = 10_000)]
    cycles: u64,
    /// Workloads side by side.
    #[arg(long, default_value_t = 8)]
    workloads: usize,
    /// Milliseconds after which a workload goes to sleep.
    #[arg(long, default_value_t = 60)]
    idle: u64,
}

/// One workload and what its backends note.
struct Place {
    name: String,
    port: u16,
    journal: PathBuf,
    reader: Reader,
}

/// Everything under way.
struct Soak {
    places: Vec<Place>,
    tally: Arc<Tally>,
    closing: Arc<AtomicBool>,
    begin: Instant,
    /// Cycles so far, and when their number last grew.
    cycles: u64,
    grown: Instant,
}

/// Between two looks at the journals.
const LOOK: Duration = Duration::from_millis(100);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Without a single cycle for so long, something sticks.
const STUCK: Duration = Duration::from_secs(60);
/// After the last request everything sleeps within this time.
const PATIENCE: Duration = Duration::from_secs(90);
/// So many losses show enough.
const ENOUGH: u64 = 100;

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = if env::var_os(variables::ROUTER).is_some() {
        Programs::from_env()
    } else {
        build::programs(workspace)?
    };
    // Who does not want to wait for the end has seen what there is.
    soak(workspace, &programs, options).map(drop)
}

/// A short one, as a test.
pub(crate) fn briefly(workspace: &Workspace, programs: &Programs) -> Result<()> {
    let options = Options { cycles: 300, workloads: 8, idle: 60 };
    ensure!(soak(workspace, programs, &options)?, "asked to end");
    Ok(())
}

/// Says whether there were enough cycles. An error when anybody was lost.
fn soak(workspace: &Workspace, programs: &Programs, options: &Options) -> Result<bool> {
    ensure!(options.workloads > 0, "--workloads 0 soaks nothing");
    let interrupt = Interrupt::watch()?;
    let cache = workspace.target().join("drowse-cache");
    let home = Home::new(programs)?.cache(&cache);
    let mut soak = Soak::new(&home, options)?;
    home.configure(&soak.tables(options.idle)?)?;
    let mut router = home.apart().start()?;
    println!(
        "\n{} workloads that sleep after {} ms, visitors of seven kinds at each, until {} cycles",
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
        let places = (0..options.workloads).map(|number| {
            let name = format!("w{number}");
            let journal = home.path().join(format!("{name}.journal"));
            Ok(Place { port: ports::free()?, reader: Reader::new(&journal), journal, name })
        });
        Ok(Self {
            places: places.collect::<Result<_>>()?,
            tally: Arc::default(),
            closing: Arc::default(),
            begin: Instant::now(),
            cycles: 0,
            grown: Instant::now(),
        })
    }

    /// Backends differ in the time they take to start and to stop.
    fn tables(&self, idle: u64) -> Result<String> {
        let program = env::current_exe().context("find this program")?;
        let mut commands = "[provider.process]\nplugin = \"process\"\n".to_owned();
        let mut tables = String::new();
        for (number, Place { name, port, journal, .. }) in self.places.iter().enumerate() {
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
        for place in &self.places {
            let host = format!("{}.soak", place.name);
            let (tally, closing) = (self.tally.clone(), self.closing.clone());
            let site = Site::new(router.address(), host, idle, tally, closing);
            visitors::begin(&Arc::new(site), &mut visitors);
        }
        visitors
    }

    /// Watches until there were enough cycles, or somebody does not want to wait for them.
    fn follow(&mut self, router: &mut Router, interrupt: &Interrupt, enough: u64) -> Result<()> {
        let mut told = Instant::now();
        while interrupt.sleep(LOOK) {
            self.read()?;
            if let Some(status) = router.ended()? {
                bail!("the router ended ({status}); its log:\n{}", router.log().tail(20));
            }
            ensure!(
                self.grown.elapsed() < STUCK,
                "nothing went to sleep for {STUCK:?}; the router says: {:#}",
                router.status()?,
            );
            if self.cycles >= enough || self.tally.losses() >= ENOUGH {
                return Ok(());
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                println!("  {}", self.progress());
            }
        }
        println!("  asked to end");
        Ok(())
    }

    /// Adds up what the backends noted since the last time.
    fn read(&mut self) -> Result<()> {
        let before = self.cycles;
        self.cycles = 0;
        for place in &mut self.places {
            for fault in place.reader.read()? {
                self.tally.lost(format!("the backend of {} {fault}", place.name));
            }
            self.cycles += place.reader.ended();
        }
        if self.cycles > before {
            self.grown = Instant::now();
        }
        Ok(())
    }

    /// Lets everybody finish, and nobody else in.
    fn close(&self, runtime: &Runtime, mut visitors: JoinSet<()>) {
        self.closing.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            let all = async { while visitors.join_next().await.is_some() {} };
            // Whoever is left then is told of below.
            let _ = tokio::time::timeout(PATIENCE, all).await;
        });
        for _ in 0..visitors.len() {
            self.tally.lost("a visitor was neither answered nor turned away");
        }
    }

    /// Afterwards everything sleeps, by the router's word and by the backends'.
    fn settle(&mut self, router: &Router) -> Result<()> {
        for place in &self.places {
            router.wait_for_phase(&place.name, "asleep", PATIENCE)?;
        }
        self.read()?;
        for place in self.places.iter().filter(|place| place.reader.runs()) {
            self.tally.lost(format!("{} is asleep, but its backend runs", place.name));
        }
        let memory = Memory::of(router.id())?;
        println!(
            "  everything sleeps; the router has {} MiB in memory, at most {} MiB",
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
            self.places.len()
        )?;
        self.tally.fmt(f)
    }
}
