//! Runs the test programs that cargo builds: several side by side, the slowest first, each test
//! timed.
//!
//! `cargo test` runs one program after the other, and a test that waits leaves the processors
//! idle. The time of each test comes from the test harness, which reports it to programs that
//! allow unstable options.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::{
    compile::{Message, artifacts},
    workspace::Workspace,
};

/// Test programs that run at the same time. Each of them runs as many tests at the same time as the
/// machine has processors.
const SIDE_BY_SIDE: usize = 2;

/// How many of the slowest tests are listed.
const LISTED: usize = 20;

/// Environment variables for the build and for each program.
pub(super) type Variables = Vec<(&'static str, PathBuf)>;

/// A program with tests.
struct Suite {
    /// The package and, for integration tests, the file.
    name: String,
    program: PathBuf,
    /// Programs run in the directory of their package, as `cargo test` runs them.
    directory: PathBuf,
}

/// How long tests took.
#[derive(Default)]
pub(super) struct Times {
    /// By suite and test.
    tests: BTreeMap<(String, String), Duration>,
    /// By suite.
    suites: BTreeMap<String, Duration>,
}

/// Builds the test programs that `cargo test` would run with these arguments, and runs them.
///
/// # Errors
///
/// When cargo cannot build them, and after all have run when one of them failed.
pub(super) fn run(
    workspace: &Workspace,
    arguments: &[&str],
    filter: &str,
    variables: &Variables,
    times: &mut Times,
) -> Result<()> {
    let mut suites = build(workspace, arguments, variables)?;
    let earlier = Record::read(workspace);
    // Taken from the end.
    suites.sort_by_key(|suite| earlier.of(&suite.name));
    let waiting = Mutex::new(suites);
    let finished = Mutex::new((&mut *times, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(suite) = next(&waiting) {
                    let ran = suite.run(filter, variables);
                    let mut finished = finished.lock().expect("no other thread panicked");
                    finished.0.add(&suite.name, &ran);
                    if !ran.passed {
                        finished.1.push(suite.name.clone());
                    }
                    ran.print(&suite.name);
                }
            });
        }
    });
    let (_, failed) = finished.into_inner().expect("no thread panicked");
    Record::write(workspace, earlier, times)?;
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!("tests failed in: {}", failed.join(", ")),
    }
}

fn next(waiting: &Mutex<Vec<Suite>>) -> Option<Suite> {
    waiting.lock().expect("no other thread panicked").pop()
}

fn build(workspace: &Workspace, arguments: &[&str], variables: &Variables) -> Result<Vec<Suite>> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--release", "--no-run"]).args(arguments);
    cargo.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut suites = Vec::new();
    artifacts(&mut cargo, |artifact| {
        suites.extend(Suite::of(artifact)?);
        Ok(())
    })
    .context("build the tests")?;
    Ok(suites)
}

/// The result of one test program.
struct Ran {
    passed: bool,
    took: Duration,
    output: String,
}

// === impl Suite ===

impl Suite {
    /// None for an artifact that is no test program.
    fn of(artifact: Message) -> Result<Option<Self>> {
        let test = artifact.profile.is_some_and(|profile| profile.test);
        let Some(program) = artifact.executable.filter(|_| test) else { return Ok(None) };
        let target = artifact.target.context("an artifact without a target")?;
        let manifest = artifact.manifest_path.context("an artifact without a package")?;
        let directory = manifest.parent().context("a manifest lies in a directory")?.to_owned();
        let package = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if target.kind.iter().any(|kind| kind == "test") {
            format!("{package}/{}", target.name)
        } else {
            format!("{package} ({})", target.kind.join(", "))
        };
        Ok(Some(Self { name, program, directory }))
    }

    fn run(&self, filter: &str, variables: &Variables) -> Ran {
        let begin = Instant::now();
        let (passed, output) = match self.output(filter, variables) {
            Ok(ran) => ran,
            Err(error) => (false, format!("{error:#}\n")),
        };
        Ran { passed, took: begin.elapsed(), output }
    }

    /// Returns whether all tests passed, and everything they wrote.
    fn output(&self, filter: &str, variables: &Variables) -> Result<(bool, String)> {
        let mut both = tempfile::tempfile().context("create a file for the output")?;
        let mut program = Command::new(&self.program);
        program
            .current_dir(&self.directory)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("CARGO_MANIFEST_DIR", &self.directory)
            // Lets the harness accept the unstable option of the next line.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["-Z", "unstable-options", "--report-time"])
            .args(Some(filter).filter(|filter| !filter.is_empty()))
            .stdin(Stdio::null())
            .stdout(both.try_clone().context("share the file of the output")?)
            .stderr(both.try_clone().context("share the file of the output")?);
        let status = program.status().with_context(|| format!("run {}", self.program.display()))?;
        both.rewind().context("read the output")?;
        let mut output = Vec::new();
        both.read_to_end(&mut output).context("read the output")?;
        Ok((status.success(), String::from_utf8_lossy(&output).into_owned()))
    }
}

// === impl Ran ===

impl Ran {
    /// One line when all passed, everything else.
    fn print(&self, suite: &str) {
        let seconds = self.took.as_secs_f64();
        let result = self.output.lines().rev().find_map(|line| line.strip_prefix("test result: "));
        if self.passed {
            let counts = result.and_then(|line| line.split("; ").next()).unwrap_or("passed");
            println!("    {seconds:6.1} s  {suite}: {counts}");
        } else {
            println!("    {seconds:6.1} s  {suite}: FAILED\n{}", self.output);
        }
    }

    /// The tests with their times.
    fn tests(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.output.lines().filter_map(|line| {
            let (test, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
            let seconds = result.split_once('<')?.1.strip_suffix("s>")?.parse().ok()?;
            Some((test, Duration::try_from_secs_f64(seconds).ok()?))
        })
    }
}

// === impl Times ===

impl Times {
    fn add(&mut self, suite: &str, ran: &Ran) {
        self.suites.insert(suite.to_owned(), ran.took);
        for (test, took) in ran.tests() {
            self.tests.insert((suite.to_owned(), test.to_owned()), took);
        }
    }

    /// Prints the slowest tests.
    pub(super) fn print_slowest(&self) {
        let mut slowest = self.tests.iter().collect::<Vec<_>>();
        slowest.sort_by_key(|(_, took)| std::cmp::Reverse(**took));
        println!("\nthe slowest of {} tests", self.tests.len());
        for ((suite, test), took) in slowest.into_iter().take(LISTED) {
            println!("    {:6.1} s  {suite}: {test}", took.as_secs_f64());
        }
    }
}

/// The times of earlier runs, kept beside what is built: the slowest suites start first.
#[derive(Default, serde::Serialize, Deserialize)]
struct Record(BTreeMap<String, f64>);

// === impl Record ===

impl Record {
    const FILE: &str = "drowse-test-times.json";

    /// Empty when there was no earlier run.
    fn read(workspace: &Workspace) -> Self {
        let text = fs::read_to_string(workspace.target().join(Self::FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Unknown suites start first: they may be slow.
    fn of(&self, suite: &str) -> Duration {
        self.0.get(suite).copied().map_or(Duration::MAX, Duration::from_secs_f64)
    }

    fn write(workspace: &Workspace, mut earlier: Self, times: &Times) -> Result<()> {
        let new = times.suites.iter().map(|(suite, took)| (suite.clone(), took.as_secs_f64()));
        earlier.0.extend(new);
        let file = workspace.target().join(Self::FILE);
        let text = serde_json::to_string_pretty(&earlier).map_err(|error| anyhow!(error))?;
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }
}
