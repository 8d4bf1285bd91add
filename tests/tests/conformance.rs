//! What the contract promises, put to the test by `drowse plugin test` on every provider in the box
//! and its real platform. What is skipped is known.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Card, Containerd, Docker, Hello, Home, Plane, Programs, containerd::IMAGE, plane::KEY,
};
use serde_json::Value;

/// The report on a plugin with these grants, after it was found to hold no failure; and which checks
/// were skipped.
fn conforms(home: &Home, plugin: &str, grants: &str) -> Result<Vec<String>> {
    home.configure("")?;
    let file = home.path().join("grants.toml");
    fs::write(&file, grants)?;
    let file = file.to_str().context("a path of UTF-8")?;
    let output = home.drowse(&["plugin", "test", plugin, "--grants", file, "--json"])?;
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_str(&told).with_context(|| format!("{told}\n{said}"))?;
    let failed = named(&report, "failed");
    ensure!(output.status.success() && failed.is_empty(), "{failed:?} failed: {report:#}\n{said}");
    ensure!(report["ok"] == true && report["failed"] == 0, "{report:#}");
    let made = report["checks"].as_array().map_or(0, Vec::len);
    ensure!(made > 50, "only {made} checks: {report:#}");
    Ok(named(&report, "skipped"))
}

fn named(report: &Value, verdict: &str) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let named = checks.filter(|check| check["verdict"] == verdict);
    named.filter_map(|check| Some(check["name"].as_str()?.to_owned())).collect()
}

#[test]
fn the_process_provider_keeps_what_the_contract_promises_of_real_programs() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let last = "kill -KILL $(tail -n 1 starts | cut -d ' ' -f 1)";
    let disturb = format!("cd {} && {last}", home.path().display());
    let grants = format!(
        "{}[test]\ntarget = \"hello\"\nsettings = {{ port = {} }}\n\
         disturb = [\"sh\", \"-c\", {disturb:?}]\n",
        hello.provider(),
        hello.port(),
    );
    let skipped = conforms(&home, "process", &grants)?;
    assert_eq!(
        skipped,
        [
            "exec",
            "exec-empty",
            "exec-unknown",
            "exec-stopped",
            "exec-paused",
            "recreate",
            "recreate-stopped",
            "remove",
            "remove-again"
        ]
    );
    let last = *hello.starts()?.last().context("it was started")?;
    assert!(!drowse_tests::process::exists(last), "nothing runs on after the test");
    Ok(())
}

#[test]
fn the_docker_provider_keeps_what_the_contract_promises_of_a_real_engine() -> Result<()> {
    let Some(engine) = Docker::shared("the_docker_provider_keeps") else { return Ok(()) };
    engine.create_web("conform", 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    let socket = format!("unix://{}", engine.socket().display());
    let grants = format!(
        "[provider.docker]\nplugin = \"docker\"\n\
         endpoint.engine = {{ url = {socket:?} }}\nendpoint.exec = {{ url = {socket:?} }}\n\n\
         [test]\ntarget = \"conform\"\ngrace = \"1s\"\n\
         exec = [\"sh\", \"-c\", \"exit 7\"]\nexec-status = 7\n\
         disturb = [\"docker\", \"--host\", {socket:?}, \"kill\", \"conform\"]\n",
    );
    let skipped = conforms(&home, "docker", &grants)?;
    assert_eq!(skipped, ["recreate", "recreate-stopped", "remove", "remove-again"]);
    assert!(!engine.is_running("conform")?, "it is left as it was found");
    Ok(())
}

#[test]
fn the_containerd_provider_keeps_what_the_contract_promises_of_a_real_containerd() -> Result<()> {
    let Some(daemon) = Containerd::shared("the_containerd_provider_keeps") else { return Ok(()) };
    let home = Home::new(&Programs::from_env())?;
    let grants = format!(
        "{}[test]\ntarget = \"conform\"\ngrace = \"1s\"\nsettings = {{ image = {IMAGE:?} }}\n\
         unknown-settings = {{}}\nmay-recreate = true\ndisturb = {:?}\n",
        daemon.provider("", ""),
        daemon.command(&["tasks", "kill", "--signal", "KILL", "conform"])?,
    );
    let skipped = conforms(&home, "containerd", &grants)?;
    assert_eq!(
        skipped,
        [
            "logs",
            "exec",
            "exec-empty",
            "exec-unknown",
            "exec-stopped",
            "exec-paused",
            "usage",
            "usage-stopped",
            "usage-unknown",
            "remove",
            "remove-again"
        ]
    );
    assert_eq!(daemon.task("conform")?, None, "nothing runs on after the test");
    Ok(())
}

#[test]
fn the_http_waker_provider_keeps_what_the_contract_promises_of_a_control_plane() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let plane = Plane::begin(&hello)?;
    // Its last start is the last line, with the process id first.
    let kill = "kill -KILL $(tail -n 1 starts | cut -d ' ' -f 1)";
    let disturb = format!("cd {} && {kill}", home.path().display());
    let (name, key) = KEY;
    let post = |verb: &str| format!("{verb} = {{ path = \"/servers/{{name}}/{verb}\" }}");
    let grants = format!(
        "[provider.plane]\nplugin = \"http-waker\"\n\
         endpoint.api = {{ url = {:?}, headers = {{ {name} = {key:?} }}, rules = [\"* /servers/**\"] }}\n\
         [provider.plane.settings]\npoll = \"50ms\"\n{}\n{}\n{}\nstatus = {{ id = \"/id\" }}\n\
         list = {{ path = \"/servers\", items = \"/servers\", every = \"50ms\" }}\n\n\
         [test]\ntarget = \"lobby\"\ndisturb = [\"sh\", \"-c\", {disturb:?}]\n",
        plane.url(),
        post("pause"),
        post("resume"),
        post("kill"),
    );
    let skipped = conforms(&home, "http-waker", &grants)?;
    assert_eq!(
        skipped,
        [
            "stop-signal",
            "logs",
            "exec",
            "exec-empty",
            "exec-unknown",
            "exec-stopped",
            "exec-paused",
            "usage",
            "usage-stopped",
            "usage-unknown",
            "recreate",
            "recreate-stopped",
            "remove",
            "remove-again"
        ]
    );
    Ok(())
}

#[test]
fn the_wake_on_lan_provider_keeps_what_the_contract_promises_of_a_machine() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    // The command that puts it to sleep makes a file of the machine's name.
    let card = Card::begin(&hello, home.path().join("nas"))?;
    let grants = format!(
        "[provider.lan]\nplugin = \"wake-on-lan\"\nendpoint.lan = {{ url = {:?} }}\n\
         command.sleep = {{ run = [\"touch\"], extra-arguments = true, directory = {:?} }}\n\n\
         [test]\ntarget = \"nas\"\n\
         settings = {{ mac = \"02:11:22:aa:bb:cc\", address = {:?} }}\n\
         unknown-settings = {{}}\n",
        card.url(),
        home.path(),
        hello.address().to_string(),
    );
    let skipped = conforms(&home, "wake-on-lan", &grants)?;
    // A machine is what its settings say: there is none that does not exist. And a packet is all
    // that the provider has.
    for name in
        ["start", "addresses", "start-again", "stop", "stop-again", "start-dropped", "crowd"]
    {
        assert!(!skipped.iter().any(|skipped| skipped == name), "{name} was skipped: {skipped:?}");
    }
    Ok(())
}
