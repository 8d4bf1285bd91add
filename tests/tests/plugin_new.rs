//! Workflow of a plugin author: `drowse plugin new`, cargo, `drowse plugin test`.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Home, Process, Programs, needs};
use serde_json::Value;

const TARGET: &str = "wasm32-unknown-unknown";

/// Build directory. It is kept for the next run.
const BUILT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugin-new");

/// The first missing requirement of the toolchain to build plugins, if any.
fn lacks() -> Option<String> {
    let mut rustc = Command::new("rustc");
    let printed = rustc.args(["--print", "target-libdir", "--target", TARGET]).output().ok();
    let dir = printed.and_then(|printed| String::from_utf8(printed.stdout).ok());
    let there = dir.is_some_and(|dir| Path::new(dir.trim()).is_dir());
    (!there).then(|| format!("the target {TARGET} is missing"))
}

fn root() -> PathBuf {
    Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo tells tests where they are")).join("..")
}

fn ran(what: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {what}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}\n{stdout}\n{stderr}", output.status);
    Ok(stdout)
}

/// Runs `cargo` in the new crate, offline.
fn cargo(dir: &Path, words: &[&str]) -> Result<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(dir).args(words).args(["--offline", "--quiet", "--target-dir", BUILT]);
    // Set for the test harness; build scripts of dependencies would ask for unstable features.
    command.env_remove("RUSTC_BOOTSTRAP");
    ran(&format!("cargo {}", words.join(" ")), &mut command)
}

fn named(report: &Value, verdict: &str) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let named = checks.filter(|check| check["verdict"] == verdict);
    named.filter_map(|check| Some(check["name"].as_str()?.to_owned())).collect()
}

#[test]
fn a_new_plugin_builds_and_passes_its_tests_and_the_conformance_suite() -> Result<()> {
    if let Some(lack) = lacks() {
        needs::skip("a_new_plugin_builds", &lack);
        return Ok(());
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    home.configure("")?;
    let made = home.path().join("my-lamps");
    let mut new = Command::new(&programs.router);
    new.args(["plugin", "new", "my-lamps", "--path"]).arg(&made);
    ran("drowse plugin new", new.arg("--sdk").arg(root().join("provider-sdk")))?;
    // Use the versions of the workspace, which are available offline.
    fs::copy(root().join("Cargo.lock"), made.join("Cargo.lock"))?;

    cargo(&made, &["test"])?;
    cargo(&made, &["build", "--release", "--target", TARGET])?;
    let plugin = Path::new(BUILT).join(TARGET).join("release/my_lamps.wasm");
    let plugin = plugin.to_str().context("a path of UTF-8")?;

    let output = home.drowse(&["plugin", "test", plugin])?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && stdout.contains(" 0 failed"), "{stdout}");
    ensure!(stdout.starts_with("my-lamps 0.1.0, "), "{stdout}");

    // `cargo test` has also built the example.
    let mut platform = Command::new(Path::new(BUILT).join("debug/examples/platform"));
    platform.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut platform = Process::spawn("the platform", &mut platform, Duration::from_secs(5))?;
    let mut line = String::new();
    let output = platform.child().stdout.take().context("no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on ").context("no address")?;
    let grants = made.join("grants.toml");
    let text = fs::read_to_string(&grants)?.replace("127.0.0.1:7070", address);
    fs::write(&grants, text)?;

    let grants = grants.to_str().context("a path of UTF-8")?;
    let output = home.drowse(&["plugin", "test", plugin, "--grants", grants, "--json"])?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&stdout).with_context(|| stdout.to_string())?;
    ensure!(output.status.success() && named(&report, "failed").is_empty(), "{report:#}");
    let passed = named(&report, "passed");
    for name in ["start", "start-twice", "list", "watch-stop", "watch-disturbed", "unknown-start"] {
        ensure!(passed.iter().any(|it| it == name), "{name} did not pass: {report:#}");
    }
    Ok(())
}

#[test]
fn a_plugin_that_violates_the_contract_fails_with_the_expected_and_the_actual_result() -> Result<()>
{
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    home.configure("")?;
    let hostile = programs.hostile.join("hostile.wasm");
    let hostile = hostile.to_str().context("a path of UTF-8")?;
    let output = home.drowse(&["plugin", "test", hostile])?;
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(stdout.contains("FAILED   closed "), "its schemas accept unknown keys: {stdout}");
    ensure!(stdout.contains("FAILED   undeclared "), "it has an undeclared ability: {stdout}");
    ensure!(stdout.contains("expected  unsupported for undeclared `exec`"), "{stdout}");

    let output = home.drowse(&["plugin", "test", "no-such-plugin", "--json"])?;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(named(&report, "failed"), ["describe"]);
    ensure!(report["checks"][0]["actual"].to_string().contains("no-such-plugin"), "{report:#}");
    Ok(())
}
