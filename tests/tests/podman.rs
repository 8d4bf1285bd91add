//! The docker provider through the binary, on a real Podman.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Home, Podman, Programs, Router, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn provider(engine: &Podman) -> String {
    let socket = format!("unix://{}", engine.socket().display());
    let endpoints = ["engine", "exec", "recreate", "remove"]
        .map(|name| format!("endpoint.{name} = {{ url = {socket:?} }}\n"));
    format!("[provider.podman]\nplugin = \"docker\"\n{}", endpoints.concat())
}

fn workload(container: &str, more: &str) -> String {
    format!(
        "\n[workload.web]\nprovider = \"podman\"\ntarget = \"{container}\"\n{more}\n\n\
         [[route]]\nworkload = \"web\"\nport = 80\n"
    )
}

/// A router with one container.
fn router(engine: &Podman, container: &str, more: &str) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    home.configure(&format!("{}{}", provider(engine), workload(container, more)))?;
    home.start()
}

#[test]
fn the_docker_provider_conforms_on_a_real_podman() -> Result<()> {
    let Some(engine) = Podman::shared("the_docker_provider_keeps") else { return Ok(()) };
    engine.create_web("conform", 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    home.configure("")?;
    let socket = format!("unix://{}", engine.socket().display());
    let grants = format!(
        "{}\n[test]\ntarget = \"conform\"\ngrace = \"1s\"\n\
         may-recreate = true\nmay-remove = true\n\
         exec = [\"sh\", \"-c\", \"exit 7\"]\nexec-status = 7\n\
         disturb = [\"docker\", \"--host\", {socket:?}, \"kill\", \"conform\"]\n",
        provider(engine),
    );
    let file = home.path().join("grants.toml");
    fs::write(&file, grants)?;
    let file = file.to_str().context("a path of UTF-8")?;
    let output = home.drowse(&["plugin", "test", "docker", "--grants", file, "--json"])?;
    let (text, printed) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&text).with_context(|| printed.to_string())?;
    let checks = report["checks"].as_array().context("no checks")?;
    let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "failed").collect();
    ensure!(output.status.success() && failed.is_empty(), "{failed:#?}\n{printed}");
    ensure!(checks.len() > 50, "only {} checks", checks.len());
    let skipped = checks.iter().filter(|check| check["verdict"] == "skipped");
    let skipped: Vec<_> = skipped.filter_map(|check| check["name"].as_str()).collect();
    assert!(skipped.is_empty(), "{skipped:?}");
    assert!(engine.inspect("conform").is_err(), "it was not removed");
    Ok(())
}

#[test]
fn a_visitor_wakes_a_podman_container_which_sleeps_again() -> Result<()> {
    let Some(engine) = Podman::shared("a_visitor_wakes") else { return Ok(()) };
    engine.create_web_with("visited", 1.0, &["--label", "colour=blue"])?;
    let events = engine.events("visited")?;
    let more = "idle = \"2s\"\nsleep = { grace = \"1s\" }";
    let router = router(engine, "visited", more)?;
    for turn in 1..=2 {
        assert_eq!(router.get("any.example", "/")?.status, 200);
        let labels = router.workload("web")?["observed"]["labels"].clone();
        assert_eq!(labels["colour"], "blue", "{labels}");
        events.wait_for(turn, "start", PATIENCE)?;
        events.wait_for(turn, "die", PATIENCE)?;
        router.wait_for_phase("web", "asleep", PATIENCE)?;
        assert!(!engine.is_running("visited")?);
        assert_eq!(events.count("start"), turn, "{:?}", events.so_far());
    }
    Ok(())
}

#[test]
fn a_podman_container_is_paused_and_resumed() -> Result<()> {
    let Some(engine) = Podman::shared("is_paused_and_goes_on") else { return Ok(()) };
    engine.create_web("pausing", 0.0)?;
    let events = engine.events("pausing")?;
    let more = "idle = \"500ms\"\nsleep = { method = \"pause\" }";
    let router = router(engine, "pausing", more)?;
    for _ in 0..2 {
        assert_eq!(router.get("any.example", "/")?.status, 200);
        router.wait_for_phase("web", "asleep", PATIENCE)?;
        assert_eq!(engine.inspect("pausing")?["State"]["Paused"], true);
    }
    events.wait_for(2, "pause", PATIENCE)?;
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    assert_eq!(events.count("unpause"), 1, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn external_changes_of_a_podman_container_are_detected() -> Result<()> {
    let Some(engine) = Podman::shared("what_others_do") else { return Ok(()) };
    engine.create_web("by-hand", 0.0)?;
    let router = router(engine, "by-hand", "idle = \"never\"\nsleep = { grace = \"1s\" }")?;
    engine.run(&["start", "by-hand"])?;
    router.wait_for_phase("web", "ready", PATIENCE)?;
    engine.run(&["kill", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    engine.run(&["start", "by-hand"])?;
    router.wait_for_phase("web", "ready", PATIENCE)?;
    engine.run(&["pause", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    // Podman refuses to start and to stop paused containers.
    assert_eq!(router.get("any.example", "/")?.status, 200);
    engine.run(&["pause", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    let (worked, printed) = router.drowse(&["wake", "web", "--wait"])?;
    ensure!(worked, "{printed}");
    let (worked, printed) = router.drowse(&["sleep", "web", "--wait"])?;
    ensure!(worked, "{printed}");
    assert!(!engine.is_running("by-hand")?);
    engine.run(&["rm", "by-hand"])?;
    router.wait_for_phase("web", "missing", PATIENCE)
}

#[test]
fn a_podman_container_is_ready_when_its_health_check_passes() -> Result<()> {
    let Some(engine) = Podman::shared("its_health_check") else { return Ok(()) };
    let check = ["--health-cmd", "test -e /www/well", "--health-interval", "1h"];
    engine.create_web_with("checked", 0.0, &check)?;
    let router = router(engine, "checked", "idle = \"never\"\nready = { health = true }")?;
    let waiting = std::thread::spawn({
        let url = router.url("/");
        move || drowse_tests::curl(&["--max-time", "60", &url])
    });
    until("it runs", PATIENCE, || engine.is_running("checked").ok()?.then_some(()))?;
    assert!(!engine.check_health("checked")?);
    assert_eq!(router.phase("web")?, "waking");
    engine.run(&["exec", "checked", "busybox", "touch", "/www/well"])?;
    assert!(engine.check_health("checked")?);
    router.wait_for_phase("web", "ready", PATIENCE)?;
    let answer = waiting.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
    ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    Ok(())
}

#[test]
fn a_podman_container_is_reached_through_a_published_port() -> Result<()> {
    let Some(engine) = Podman::shared("a_published_port") else { return Ok(()) };
    engine.create_web_with("published", 0.0, &["--publish", "18080:80"])?;
    let home = Home::new(&Programs::from_env())?;
    let settings =
        format!("settings = {{ address = \"published\", host = {:?} }}\n", engine.host());
    let tables = workload("published", "idle = \"never\"");
    home.configure(&format!("{}{settings}{tables}", provider(engine)))?;
    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let seen = router.workload("web")?["observed"].to_string();
    assert!(seen.contains(&engine.host()) && seen.contains("18080"), "{seen}");
    Ok(())
}

#[test]
fn a_busy_podman_container_is_not_put_to_sleep() -> Result<()> {
    let Some(engine) = Podman::shared("that_works") else { return Ok(()) };
    engine.create_web("works", 0.0)?;
    // It is busy before it can be put to sleep.
    engine.run(&["start", "works"])?;
    let spin = "while [ ! -e /done ]; do :; done";
    engine.run(&["exec", "--detach", "works", "sh", "-c", spin])?;
    let more = "idle = \"500ms\"\nsleep = { grace = \"1s\" }\nkeep-awake-if = { cpu-above = 20 }";
    let router = router(engine, "works", more)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    until("it is found busy", PATIENCE, || {
        let veto = router.workload("web").ok()?["veto"].to_string();
        veto.contains("of a core").then_some(())
    })?;
    assert!(engine.is_running("works")?);
    engine.run(&["exec", "works", "busybox", "touch", "/done"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)
}

#[test]
fn a_podman_container_is_recreated_with_its_configuration() -> Result<()> {
    let Some(engine) = Podman::shared("is_made_anew") else { return Ok(()) };
    engine.run(&["network", "create", "--subnet", &engine.subnet(), "anew"])?;
    let options = [
        "--network",
        "anew",
        "--network-alias",
        "other",
        "--volume",
        "/data",
        "--volume",
        "kept:/kept",
        "--env",
        "COLOUR=blue",
        "--label",
        "colour=blue",
        "--publish",
        "18081:80",
        "--memory",
        "64m",
        "--cap-drop",
        "NET_RAW",
        "--restart",
        "on-failure:3",
        "--user",
        "0:0",
        "--tmpfs",
        "/scratch",
        "--add-host",
        "far:10.1.2.3",
        "--stop-signal",
        "SIGINT",
        "--health-cmd",
        "true",
        "--health-retries",
        "7",
        "--stop-timeout",
        "3",
        "--read-only=false",
    ];
    engine.create_web_with("anew", 0.0, &options)?;
    let router = router(engine, "anew", "idle = \"never\"\nsleep = { grace = \"1s\" }")?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    engine.run(&["exec", "anew", "busybox", "touch", "/data/mine", "/kept/mine"])?;
    let inspected = || anyhow::Ok([engine.inspect("anew")?, engine.inspect_whole("anew")?]);
    let before = inspected()?;
    let (worked, printed) = router.drowse(&["recreate", "web", "--wait"])?;
    ensure!(worked, "{printed}");
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let after = inspected()?;
    engine.run(&["exec", "anew", "busybox", "ls", "/data/mine", "/kept/mine"])?;
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before["Id"], after["Id"]);
        let (before, after) = (lasting(before)?, lasting(after)?);
        let lost: Vec<_> = before.difference(&after).collect();
        let new: Vec<_> = after.difference(&before).collect();
        assert!(lost.is_empty() && new.is_empty(), "lost {lost:#?}, new {new:#?}");
    }
    Ok(())
}

/// All values in a container's description with their paths, except those that change with each instance
/// or are chosen by the engine.
fn lasting(container: &Value) -> Result<BTreeSet<String>> {
    const OTHERS: [&str; 11] = [
        "/Config/Annotations/io.kubernetes.cri-o.Created",
        "/Created",
        "/ExecIDs",
        "/GraphDriver",
        "/State",
        // `k8s-file` is `json-file` in Docker's API; Podman treats them as equal.
        "/HostConfig/LogConfig/Type",
        "/NetworkSettings/Networks/anew/IPAddress",
        "/NetworkSettings/Networks/anew/MacAddress",
        "/NetworkSettings/SandboxKey",
        "/SizeRw",
        "/Config/Labels/io.drowse.recreated-from",
    ];
    let id = container["Id"].as_str().context("no id")?;
    let mut leaves = BTreeSet::new();
    flatten("", container, &mut leaves);
    leaves.retain(|leaf| !OTHERS.iter().any(|other| leaf.starts_with(other)));
    Ok(leaves.iter().map(|leaf| leaf.replace(id, "ID").replace(&id[..12], "ID")).collect())
}

fn flatten(path: &str, value: &Value, leaves: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                flatten(&format!("{path}/{name}"), value, leaves);
            }
        }
        Value::Array(items) => {
            for item in items {
                flatten(path, item, leaves);
            }
        }
        leaf => {
            leaves.insert(format!("{path} = {leaf}"));
        }
    }
}
