//! Dependencies, adoption, operator commands and the journal.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Home, Programs, Router, client, curl, ports, process, until};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A router with workloads of the process provider: name, command line after the port, keys.
fn router(workloads: &[(&str, &[&str], &str)]) -> Result<Router> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = programs.hello.display().to_string();
    let mut commands = "[provider.process]\nplugin = \"process\"\n".to_owned();
    let mut tables = String::new();
    for (name, words, keys) in workloads {
        let port = ports::free()?;
        let own = [hello.clone(), "--port".to_owned(), port.to_string()];
        let run: Vec<_> = match words {
            [] => own.to_vec(),
            ["hello", more @ ..] => {
                own.into_iter().chain(more.iter().map(|w| (*w).to_owned())).collect()
            }
            words => words.iter().map(|word| (*word).to_owned()).collect(),
        };
        commands += &format!("command.{name} = {{ run = {run:?} }}\n");
        tables += &format!("\n[workload.{name}]\nprovider = \"process\"\n{keys}\n");
        if !keys.contains("completed = true") {
            tables += &format!(
                "[[route]]\nhost = \"{name}.lives\"\nworkload = \"{name}\"\nport = {port}\n"
            );
        }
    }
    home.configure(&(commands + &tables))?;
    home.start()
}

/// The operations of a workload, oldest first: kind, source, success.
fn operations(router: &Router, name: &str) -> Result<Vec<(String, String, bool)>> {
    let output = router.home().drowse(&["ops", name, "--json", "--limit", "1000"])?;
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row =
        |entry: &Value| (text(&entry["kind"]), text(&entry["trigger"]), entry["failure"].is_null());
    Ok(entries.iter().rev().map(row).collect())
}

fn phase_of(router: &Router, name: &str) -> Result<String> {
    router.phase(name)
}

#[test]
fn a_visitor_wakes_dependencies_first_and_all_sleep_in_reverse_order() -> Result<()> {
    let router = router(&[
        (
            "app",
            &[],
            "idle = \"1s\"\nneeds = [\"db\", { workload = \"migrate\", until = \"completed\" }]\n",
        ),
        ("db", &["hello", "--boot", "400"], "idle = \"1s\"\n"),
        ("migrate", &["/bin/sh", "-c", "sleep 0.3"], "ready = { completed = true }\n"),
    ])?;
    let answer = router.get("app.lives", "/")?;
    ensure!(answer.status == 200, "{}", answer.text());
    ensure!(answer.first_byte >= Duration::from_millis(400), "{:?}", answer.first_byte);
    ensure!(phase_of(&router, "db")? == "ready");
    let db = operations(&router, "db")?;
    ensure!(db.first().is_some_and(|(_, source, _)| source == "dependency"), "{db:?}");
    ensure!(router.workload("db")?["held"] == 1, "{:#}", router.workload("db")?);

    let refused = router.home().drowse(&["sleep", "db"])?;
    ensure!(!refused.status.success(), "a needed workload was put to sleep");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(stderr.contains("needed by app"), "{stderr}");

    router.wait_for_phase("app", "asleep", PATIENCE)?;
    router.wait_for_phase("db", "asleep", PATIENCE)?;
    let output = router.home().drowse(&["ops", "--json", "--limit", "1000"])?;
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let stops: Vec<_> = entries.iter().rev().filter(|entry| entry["kind"] == "stop").collect();
    let order: Vec<_> =
        stops.iter().map(|entry| entry["workload"].as_str().unwrap_or("")).collect();
    ensure!(order == ["app", "db"], "{order:?}");
    let correlation = |name: &str, kind: &str| {
        let found = entries.iter().find(|entry| entry["workload"] == name && entry["kind"] == kind);
        found.map(|entry| entry["correlation"].clone())
    };
    ensure!(correlation("app", "wake").is_some());
    ensure!(
        correlation("app", "wake") == correlation("db", "start"),
        "one wake has two correlation ids"
    );
    Ok(())
}

#[test]
fn a_dependency_that_cannot_be_woken_is_named_in_the_failure() -> Result<()> {
    let router = router(&[
        ("app", &[], "needs = [\"db\"]\n"),
        ("db", &["/bin/sh", "-c", "exit 3"], "wake = { timeout = \"5s\" }\n"),
    ])?;
    let answer = router.get("app.lives", "/")?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    let failure = router.workload("app")?["failure"]["message"].clone();
    let failure = failure.as_str().context("no failure is shown")?;
    ensure!(failure.contains("it needs db"), "{failure}");
    Ok(())
}

#[test]
fn a_dependency_cycle_is_refused_and_printed() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let workload = |name: &str, needs: &str| {
        format!("[workload.{name}]\nprovider = \"process\"\nneeds = [\"{needs}\"]\n")
    };
    let tables = [
        "[provider.process]\nplugin = \"process\"\n".to_owned(),
        workload("a", "b"),
        workload("b", "c"),
        workload("c", "a"),
    ];
    home.configure(&tables.concat())?;
    let output = home.drowse(&["check"])?;
    ensure!(!output.status.success());
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(stdout.contains("a → b → c → a"), "{stdout}");
    ensure!(stdout.contains("drowse.toml:"), "{stdout}");
    Ok(())
}

#[test]
fn a_forced_sleep_aborts_active_visits() -> Result<()> {
    let router = router(&[("app", &[], "idle = \"never\"\n")])?;
    let address = router.address();
    thread::scope(|scope| -> Result<()> {
        let inside =
            scope.spawn(move || client::get(address, "app.lives", "/slow?seconds=30", PATIENCE));
        until("there is a visit", PATIENCE, || {
            (router.workload("app").ok()?["visits"] == 1).then_some(())
        })?;
        let output = router.home().drowse(&["sleep", "app", "--force", "--wait"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let cut = inside.join().expect("no panic");
        ensure!(cut.is_ok_and(|answer| answer.text().matches("line").count() < 300));
        Ok(())
    })
}

#[test]
fn programs_can_follow_every_change_of_phase() -> Result<()> {
    let router = router(&[("app", &[], "idle = \"500ms\"\n")])?;
    let socket = router.home().path().join("control.sock").display().to_string();
    let follow = thread::spawn(move || {
        curl(&[
            "--no-buffer",
            "--max-time",
            "5",
            "--unix-socket",
            &socket,
            "http://drowse/v0/events",
        ])
    });
    while !follow.is_finished() {
        ensure!(router.get("app.lives", "/")?.status == 200);
        router.wait_for_phase("app", "asleep", PATIENCE)?;
    }
    let seen = String::from_utf8(follow.join().expect("no panic")?.stdout)?;
    for phase in ["waking", "ready", "stopping", "asleep"] {
        ensure!(seen.contains(&format!("\"to\":\"{phase}\"")), "no {phase} in {seen}");
    }
    Ok(())
}

#[test]
fn the_programs_of_a_killed_router_keep_serving_and_sleep_under_the_next_router() -> Result<()> {
    let mut router =
        router(&[("app", &[], "idle = \"2s\"\n"), ("gone", &[], "idle = \"never\"\n")])?;
    ensure!(router.get("app.lives", "/")?.status == 200);
    ensure!(router.get("gone.lives", "/")?.status == 200);
    let pid = |router: &Router, name: &str| -> Result<u32> {
        let log = router.log().since(0);
        let started = |line: &&String| line.contains("process started") && line.contains(name);
        let line = log.iter().find(started).context("nothing was started")?;
        Ok(line.rsplit("pid=").next().context("no pid")?.trim().parse()?)
    };
    let (app, gone) = (pid(&router, "app")?, pid(&router, "gone")?);
    router.signal(Signal::KILL)?;
    let home = router.stop()?;
    ensure!(process::exists(app) && process::exists(gone), "they ended with the router");

    // The next router does not grant `gone`.
    let text = fs::read_to_string(home.config())?;
    let (before, after) = text.split_once("command.gone").context("no command")?;
    let after = after.split_once('\n').context("no line")?.1;
    let after = after.split_once("[workload.gone]").context("no workload")?.0;
    fs::write(home.config(), [before, after].concat())?;
    let router = home.start()?;
    let answer = router.get("app.lives", "/")?;
    ensure!(answer.text().contains(&format!("Process {app} ")), "{}", answer.text());
    until("the process without a grant has ended", PATIENCE, || {
        (!process::exists(gone)).then_some(())
    })?;
    router.wait_for_phase("app", "asleep", PATIENCE)?;
    ensure!(!process::exists(app), "asleep, but the process runs");
    let starts = router.log().since(0);
    ensure!(!starts.iter().any(|line| line.contains("process started")), "{starts:#?}");
    ensure!(router.get("app.lives", "/")?.status == 200, "it is not woken again");
    Ok(())
}
