//! Whoever waits for something that takes long is told how far it is, in the provider's words.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the provider says while it starts the workload.
const SAID: &str = "half of it is done";

#[test]
fn operators_and_visitors_who_wait_are_told_what_the_provider_is_doing() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    fs::copy(programs.hostile.join("hostile.wasm"), home.plugins().join("hostile.wasm"))?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let backend = hello.spawn()?;
    let port = hello.port();
    home.configure(&format!(
        "[waiting]\nlog-lines = 3\n\n\
         [provider.hostile]\nplugin = \"hostile\"\nlimits = {{ wall-time = \"20s\" }}\n\n\
         [workload.slow]\nprovider = \"hostile\"\ntarget = \"slow:3000:127.0.0.1:{port}\"\n\
         idle = \"never\"\n\n\
         [[route]]\nworkload = \"slow\"\nwaiting = \"page\"\nport = {port}\n"
    ))?;
    let router = home.start()?;
    thread::scope(|scope| -> Result<()> {
        let wake = scope.spawn(|| router.home().drowse(&["wake", "slow", "--wait"]));
        until("the status tells it", PATIENCE, || {
            (router.workload("slow").ok()?["progress"] == SAID).then_some(())
        })?;
        let status = router.home().drowse(&["status"])?;
        let status = String::from_utf8(status.stdout)?;
        ensure!(status.contains(SAID), "{status}");
        let page = router.get("any.example", "/")?;
        ensure!(page.status == 503 && page.text().contains(SAID), "{}", page.text());

        let woken = wake.join().expect("no panic")?;
        let (told, answer) = (String::from_utf8(woken.stderr)?, String::from_utf8(woken.stdout)?);
        let line = told.lines().find(|line| line.contains(SAID)).with_context(|| told.clone())?;
        ensure!(line.starts_with("slow: waking: "), "{told}");
        ensure!(told.matches(SAID).count() == 1, "it is told when it changes: {told}");
        ensure!(answer == "slow: ready\n", "{answer}");
        Ok(())
    })?;
    ensure!(router.workload("slow")?["progress"].is_null(), "the call is over");
    ensure!(router.get("any.example", "/")?.status == 200);
    drop(backend);
    Ok(())
}

#[test]
fn scripts_get_one_answer_and_quick_ones_nothing_else() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_millis(900))?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    let router = home.start()?;
    let woken = router.home().drowse(&["wake", "hello", "--wait", "--json"])?;
    ensure!(woken.stderr.is_empty(), "{}", String::from_utf8(woken.stderr)?);
    let status: serde_json::Value = serde_json::from_slice(&woken.stdout)?;
    ensure!(status["phase"] == "ready", "{status:#}");
    let again = router.home().drowse(&["wake", "hello", "--wait"])?;
    ensure!(again.stderr.is_empty(), "{}", String::from_utf8(again.stderr)?);
    ensure!(again.stdout == b"hello: ready\n", "{}", String::from_utf8(again.stdout)?);
    Ok(())
}
