//! Progress messages of providers during long operations.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Progress message of the provider.
const SAID: &str = "half of it is done";

#[test]
fn waiting_operators_and_visitors_see_the_progress_of_the_provider() -> Result<()> {
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
        until("the status shows it", PATIENCE, || {
            (router.workload("slow").ok()?["progress"] == SAID).then_some(())
        })?;
        let status = router.home().drowse(&["status"])?;
        let status = String::from_utf8(status.stdout)?;
        ensure!(status.contains(SAID), "{status}");
        let page = router.get("any.example", "/")?;
        ensure!(page.status == 503 && page.text().contains(SAID), "{}", page.text());

        let woken = wake.join().expect("no panic")?;
        let (output, answer) = (String::from_utf8(woken.stderr)?, String::from_utf8(woken.stdout)?);
        let line =
            output.lines().find(|line| line.contains(SAID)).with_context(|| output.clone())?;
        ensure!(line.starts_with("slow: waking: "), "{output}");
        ensure!(output.matches(SAID).count() == 1, "it is printed more than once: {output}");
        ensure!(answer == "slow: ready\n", "{answer}");
        Ok(())
    })?;
    ensure!(
        router.workload("slow")?["progress"].is_null(),
        "the message is still shown after the call"
    );
    ensure!(router.get("any.example", "/")?.status == 200);
    drop(backend);
    Ok(())
}

#[test]
fn json_output_and_quick_wakes_print_no_progress() -> Result<()> {
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
