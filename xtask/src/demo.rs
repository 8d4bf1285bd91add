//! `cargo xtask demo`: a backend asleep behind the router, and what a request does to it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use drowse_tests::{Hello, Home, Programs, Router, client::Answer, ports, process, until};

use crate::{build, interrupt::Interrupt, workspace::Workspace};

/// Options of the demonstration.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run the story unattended: asleep, held request, answer, asleep again. Exit 0 or 1.
    #[arg(long)]
    once: bool,
}

/// How long the example backend takes to open its port, as real ones do.
const BOOT: Duration = Duration::from_secs(1);

/// Longer than any step of the story takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a line for each step of the story with its time.
struct Story {
    begin: Instant,
    last: Instant,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = build::programs(workspace)?;
    if options.once { once(workspace, &programs) } else { show(workspace, &programs) }
}

/// A home with the example backend asleep in it. Compiled providers stay for the next time.
fn home(workspace: &Workspace, programs: &Programs, idle: &str) -> Result<(Home, Hello)> {
    let cache = workspace.compiled();
    let home = Home::with_port(programs, ports::free_or_any(8080)?)?.cache(&cache);
    let hello = Hello::new(programs, home.path(), BOOT)?;
    home.configure(&[hello.provider(), hello.workload(idle)].concat())?;
    Ok((home, hello))
}

// === attended ===

fn show(workspace: &Workspace, programs: &Programs) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let (home, hello) = home(workspace, programs, "15s")?;
    let mut router = home.own_process_group().start()?;
    println!(
        "\nA backend sleeps behind {url}. It takes a second to start and sleeps again when\n\
         nobody has asked for 15 seconds. Try, from another terminal:\n\n    \
             curl -i {url}\n    \
             {program} status --config {config}\n\n\
         or open {url} in a browser. Ctrl-C ends it all.\n",
        url = router.url("/"),
        program = programs.router.display(),
        config = router.home().config().display(),
    );
    follow(&mut router, &interrupt)?;
    println!("\nstopping");
    router.stop()?;
    ensure_gone(&hello)
}

/// Prints phases as they change until somebody asks to end.
fn follow(router: &mut Router, interrupt: &Interrupt) -> Result<()> {
    let begin = Instant::now();
    let mut seen = 0;
    println!("  {:6.1} s  hello is {}", 0.0, router.phase("hello")?);
    while interrupt.sleep(Duration::from_millis(50)) {
        let lines = router.log().since(seen);
        seen += lines.len();
        for phase in lines.iter().filter_map(|line| phase(line)) {
            println!("  {:6.1} s  hello is {phase}", begin.elapsed().as_secs_f64());
        }
        if let Some(status) = router.ended()? {
            bail!("the router ended ({status}); its log:\n{}", router.log().tail(20));
        }
    }
    Ok(())
}

/// The phase that a line of the log tells of.
fn phase(line: &str) -> Option<&str> {
    let (_, event) = line.split_once(" phase changed workload=hello ")?;
    event.split(' ').find_map(|word| word.strip_prefix("phase="))
}

// === unattended ===

fn once(workspace: &Workspace, programs: &Programs) -> Result<()> {
    let mut story = Story::begin();
    let (home, hello) = home(workspace, programs, "2s")?;
    let router = home.start()?;
    story.tell("the router serves", router.url("/"));

    ensure!(router.phase("hello")? == "asleep", "the backend is not asleep at the beginning");
    ensure!(hello.starts()?.is_empty(), "the backend ran before anybody asked");
    story.tell("the backend is asleep", "no process");

    let first = ask(&router)?;
    ensure!(
        first.first_byte >= BOOT,
        "the first answer came after {:?}, before the backend can have started",
        first.first_byte,
    );
    story.tell("a request was held and answered", first.text().trim());

    let second = ask(&router)?;
    ensure!(
        second.first_byte < BOOT / 2,
        "the second answer took {:?} although the backend was awake",
        second.first_byte,
    );
    story.tell("a second one was answered at once", format!("{:.1?}", second.first_byte));

    asleep_again(&router, &hello)?;
    story.tell("nobody asked: the backend is asleep again", "no process");

    let home = router.stop()?;
    let router = home.start()?;
    let third = ask(&router)?;
    let loads = loads(&router);
    ensure!(
        !loads.is_empty() && loads.iter().all(|line| line.contains("cached=true")),
        "the second start did not load its providers from the compiled cache: {loads:#?}\n{}",
        router.log().tail(40),
    );
    story.tell("a second start took its providers from the cache", third.text().trim());

    router.stop()?;
    ensure_gone(&hello)?;
    story.tell("everything has ended", "");
    Ok(())
}

fn ask(router: &Router) -> Result<Answer> {
    let answer = router.get("hello.example", "/")?;
    ensure!(answer.status == 200, "the answer is {}: {}", answer.status, answer.text());
    Ok(answer)
}

fn asleep_again(router: &Router, hello: &Hello) -> Result<()> {
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    let id = hello.starts()?.pop().context("the backend noted no start")?;
    ensure!(!process::exists(id), "asleep, but process {id} runs");
    Ok(())
}

/// The router's log lines about loading providers.
fn loads(router: &Router) -> Vec<String> {
    let lines = router.log().since(0);
    lines.into_iter().filter(|line| line.contains("cached=")).collect()
}

/// Makes sure that no process is left behind.
fn ensure_gone(hello: &Hello) -> Result<()> {
    let left = hello.starts()?.into_iter().filter(|id| process::exists(*id)).collect::<Vec<_>>();
    for id in &left {
        process::kill(*id)?;
    }
    let gone = || left.iter().all(|id| !process::exists(*id)).then_some(());
    until("the backend ends", PATIENCE, gone)?;
    if left.is_empty() {
        return Ok(());
    }
    bail!("the router left processes {left:?} behind; they were ended")
}

// === impl Story ===

impl Story {
    fn begin() -> Self {
        let now = Instant::now();
        println!();
        Self { begin: now, last: now }
    }

    fn tell(&mut self, what: &str, more: impl std::fmt::Display) {
        let now = Instant::now();
        println!(
            "{:7.3} s  +{:6.3} s  {what:<48} {more}",
            (now - self.begin).as_secs_f64(),
            (now - self.last).as_secs_f64(),
        );
        self.last = now;
    }
}
