//! Compose dependencies, health checks, commands in containers, light and deep sleep, on a real engine.

use std::time::Duration;

use anyhow::{Result, ensure};
use drowse_tests::{Docker, Home, Programs, Router, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Command that queries the container's web server from inside the container.
const ASK: &str = "/bin/busybox wget -q -O /dev/null http://127.0.0.1:80/";

/// A router with these tables. `exec` grants commands in containers.
fn router(engine: &Docker, exec: bool, tables: &str) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    let socket = engine.socket().display().to_string();
    let mut text = format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{socket}\" }}\n"
    );
    if exec {
        text += &format!("endpoint.exec = {{ url = \"unix://{socket}\" }}\n");
    }
    home.configure(&(text + "\n" + tables))?;
    home.start()
}

/// A workload with the name of its container, and a route to it.
fn workload(name: &str, keys: &str) -> String {
    format!(
        "[workload.{name}]\nprovider = \"docker\"\nsleep = {{ grace = \"1s\" }}\n{keys}\n\
         [[route]]\nhost = \"{name}.test\"\nworkload = \"{name}\"\nport = 80\n\n"
    )
}

fn started(engine: &Docker, name: &str) -> Result<String> {
    Ok(engine.inspect(name)?["State"]["StartedAt"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn compose_dependencies_are_woken_first_and_awaited_until_healthy() -> Result<()> {
    let Some(engine) = Docker::shared("compose") else { return Ok(()) };
    let label = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
    let (project, db, app) =
        (label("project", "shop"), label("service", "db"), label("service", "app"));
    let needs = label("depends_on", "db:service_healthy:false");
    let health = ["--health-cmd", ASK, "--health-interval", "200ms", "--health-retries", "100"];
    let labels = ["--label", &project, "--label", &db];
    engine.create_web_with("composed-db", 1.0, &[&labels[..], &health].concat())?;
    let labels = ["--label", &project, "--label", &app, "--label", &needs];
    engine.create_web_with("composed-app", 0.0, &labels)?;
    let tables = [
        workload("composed-app", "idle = \"1s\"\n"),
        workload("composed-db", "idle = \"1s\"\nready = { health = true }\n"),
    ];
    let router = router(engine, false, &tables.concat())?;
    until("the labels are read", PATIENCE, || {
        (router.workload("composed-app").ok()?["needs"][0] == "composed-db").then_some(())
    })?;

    let answer = router.get("composed-app.test", "/")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(answer.first_byte >= Duration::from_secs(1), "{:?}", answer.first_byte);
    ensure!(started(engine, "composed-db")? < started(engine, "composed-app")?);
    ensure!(router.phase("composed-db")? == "ready");
    router.wait_for_phase("composed-app", "asleep", PATIENCE)?;
    router.wait_for_phase("composed-db", "asleep", PATIENCE)
}

#[test]
fn a_granted_exec_check_determines_readiness() -> Result<()> {
    let Some(engine) = Docker::shared("exec") else { return Ok(()) };
    engine.create_web("asked", 1.0)?;
    let command: Vec<_> = ASK.split(' ').collect();
    let tables = workload(
        "asked",
        &format!("ready = {{ exec = {command:?} }}\nwake = {{ timeout = \"6s\" }}\n"),
    );
    let granted = router(engine, true, &tables)?;
    let answer = granted.get("asked.test", "/")?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(answer.first_byte >= Duration::from_secs(1), "{:?}", answer.first_byte);
    granted.stop()?;
    engine.run(&["stop", "--time", "0", "asked"])?;

    let bare = router(engine, false, &tables)?;
    ensure!(bare.get("asked.test", "/")?.status == 503, "it is served without the grant");
    let failure = bare.workload("asked")?["failure"]["message"].to_string();
    ensure!(failure.contains("endpoint.exec"), "{failure}");
    Ok(())
}

#[test]
fn a_light_sleep_becomes_a_deep_one_and_a_visitor_wakes_it_from_both() -> Result<()> {
    let Some(engine) = Docker::shared("deeper") else { return Ok(()) };
    engine.create_web("deep", 0.0)?;
    let events = engine.events("deep")?;
    let tables =
        workload("deep", "idle = \"500ms\"\ndeep-sleep = { after = \"2s\", grace = \"1s\" }\n");
    let tables = tables.replace("{ grace = \"1s\" }\n", "{ method = \"pause\" }\n");
    let router = router(engine, false, &tables)?;
    ensure!(router.get("deep.test", "/")?.status == 200);
    events.wait_for(1, "pause", PATIENCE)?;
    ensure!(router.get("deep.test", "/")?.status == 200, "woken from the light sleep");
    ensure!(events.count("start") == 1, "{:?}", events.so_far());
    events.wait_for(2, "pause", PATIENCE)?;
    events.wait("die", PATIENCE)?;
    router.wait_for_phase("deep", "asleep", PATIENCE)?;
    ensure!(!engine.is_running("deep")?);
    ensure!(router.get("deep.test", "/")?.status == 200, "woken from the deep sleep");
    events.wait_for(2, "start", PATIENCE)?;
    Ok(())
}

#[test]
fn a_manually_started_container_is_served_and_kept_until_its_first_visitor() -> Result<()> {
    let Some(engine) = Docker::shared("adopted") else { return Ok(()) };
    engine.create_web("adopted", 0.0)?;
    engine.run(&["start", "adopted"])?;
    let router = router(engine, false, &workload("adopted", "idle = \"1s\"\n"))?;
    router.wait_for_phase("adopted", "ready", PATIENCE)?;
    let seen = router.workload("adopted")?;
    ensure!(seen["sleeps_in_seconds"].is_null(), "{seen:#}");
    ensure!(router.get("adopted.test", "/")?.status == 200);
    router.wait_for_phase("adopted", "asleep", PATIENCE)?;
    ensure!(!engine.is_running("adopted")?);
    Ok(())
}
