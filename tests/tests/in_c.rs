//! A provider written in C: built with its script, and used beside a bundled provider.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, needs, process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Returns whether the machine can build it. Otherwise the test is recorded as skipped.
fn can_build(test: &str) -> bool {
    let lack = needs::lacks(&["clang", "wasm-ld", "wit-bindgen"]).or_else(|| {
        let libc = Path::new("/usr/include/wasm32-wasi/stdlib.h").exists();
        (!libc).then(|| "wasi-libc is missing".to_owned())
    });
    match lack {
        Some(lack) => {
            needs::skip(test, &lack);
            false
        }
        None => true,
    }
}

/// Builds the plugin into the plugins directory with the script of the example.
fn build(home: &Home) -> Result<()> {
    let root = std::env::var("CARGO_MANIFEST_DIR").context("cargo tells tests where they are")?;
    let script = Path::new(&root).join("../examples/provider-in-c/build.sh");
    let built = Command::new(script).arg(home.plugins().join("programs-in-c.wasm")).output()?;
    let stderr = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "build.sh: {stderr}");
    Ok(())
}

#[test]
fn a_provider_in_c_wakes_and_stops_a_workload_beside_a_bundled_one() -> Result<()> {
    if !can_build("a_provider_in_c") {
        return Ok(());
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    build(&home)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_millis(200))?;
    let beside = tempfile::tempdir()?;
    let other = Hello::new(&programs, beside.path(), Duration::ZERO)?;
    home.configure(&format!(
        "[provider.c]\nplugin = \"programs-in-c\"\ncommand.hello = {{ run = {:?} }}\n\n\
         [provider.rust]\nplugin = \"process\"\ncommand.other = {{ run = {:?} }}\n\n\
         [workload.hello]\nprovider = \"c\"\nidle = \"never\"\n\n\
         [workload.other]\nprovider = \"rust\"\nidle = \"never\"\n\n\
         [[route]]\nhost = \"c.example\"\nworkload = \"hello\"\nport = {}\n\n\
         [[route]]\nhost = \"rust.example\"\nworkload = \"other\"\nport = {}\n",
        hello.run(),
        other.run(),
        hello.port(),
        other.port(),
    ))?;
    let stdout = home.drowse(&["plugin", "inspect", "programs-in-c", "--json"])?;
    let stdout: Value = serde_json::from_slice(&stdout.stdout)?;
    assert_eq!(stdout["name"], "programs-in-c", "{stdout:#}");
    assert_eq!(stdout["contract"], "0.1.0", "{stdout:#}");
    let imports = stdout["imports"].as_array().context("no imports")?;
    let ours =
        |import: &Value| import.as_str().is_some_and(|it| it.starts_with("drowse:provider/"));
    assert!(imports.iter().all(ours), "it imports more than the contract: {imports:?}");
    let checked = home.drowse(&["check"])?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let router = home.start()?;
    let answer = router.get("c.example", "/")?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(router.get("rust.example", "/")?.status, 200);
    ensure!(router.home().drowse(&["sleep", "hello"])?.status.success());
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    let starts = hello.starts()?;
    assert!(starts.len() == 1 && !process::exists(starts[0]), "asleep, but the process runs");
    assert_eq!(router.phase("other")?, "ready");
    assert!(router.get("c.example", "/")?.text().contains("start 2"));
    Ok(())
}

#[test]
fn a_provider_in_c_names_what_is_not_granted() -> Result<()> {
    if !can_build("a_provider_in_c_names") {
        return Ok(());
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    build(&home)?;
    home.configure(
        "[provider.c]\nplugin = \"programs-in-c\"\ncommand.other = { run = [\"sleep\", \"1000\"] }\n\n\
         [workload.hello]\nprovider = \"c\"\n\n[[route]]\nworkload = \"hello\"\nport = 80\n",
    )?;
    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.workload("hello")?.to_string();
    assert!(
        status.contains("is not granted: add to [provider.c]: command.hello = { run"),
        "{status}"
    );
    Ok(())
}
