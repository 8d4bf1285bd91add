//! Providers as dynamic libraries through the binary, before and after the operator has allowed them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Docker, Hello, Home, Programs,
    dylibs::{self, ALLOW, DOCKER, Dylib, PROCESS, allow},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A router's home with this library in its plugins directory.
fn home(library: Dylib, tables: &str) -> Result<Home> {
    let home = Home::new(&Programs::from_env())?;
    dylibs::put(library, env!("CARGO_TARGET_TMPDIR"), &home)?;
    home.configure(tables)?;
    Ok(home)
}

#[test]
fn a_process_is_woken_by_a_library_and_sleeps_again() -> Result<()> {
    let programs = Programs::from_env();
    let place = tempfile::tempdir()?;
    let hello = Hello::new(&programs, place.path(), Duration::from_millis(300))?;
    let home = home(PROCESS, &[hello.provider(), hello.workload("1s")].concat())?;

    let checked = home.drowse(&["check"])?;
    ensure!(!checked.status.success(), "it is not allowed yet");
    let printed = String::from_utf8([checked.stdout, checked.stderr].concat())?;
    assert!(printed.contains("process.so: it is a dynamic library"), "{printed}");
    assert!(printed.contains(ALLOW), "{printed}");

    let router = home.start()?;
    let refused = router.provider("process")?;
    assert_eq!(refused["usable"], false, "{refused:#}");
    assert!(refused["cause"].as_str().is_some_and(|it| it.contains(ALLOW)), "{refused:#}");
    let home = router.stop()?;

    allow(&home)?;
    let inspected = home.drowse(&["plugin", "inspect", "process"])?;
    let printed = String::from_utf8(inspected.stdout)?;
    assert!(printed.contains("dylib    trusted code without a sandbox"), "{printed}");
    let listed = String::from_utf8(home.drowse(&["plugin", "list"])?.stdout)?;
    let row = listed.lines().find(|line| line.starts_with("process ")).context("it is listed")?;
    assert!(row.contains(" dylib "), "{listed}");

    let router = home.start()?;
    assert_eq!(router.provider("process")?["plugin"], "process 0.1.0 (dylib)");
    assert!(router.get("any.example", "/")?.text().contains("start 1"));
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    assert!(router.get("any.example", "/")?.text().contains("start 2"));
    Ok(())
}

#[test]
fn a_container_is_woken_by_a_library_and_sleeps_again() -> Result<()> {
    let Some(engine) = Docker::shared("a_container_is_woken_by_a_library") else { return Ok(()) };
    engine.create_web("by-library", 0.3)?;
    let home = home(
        DOCKER,
        &format!(
            "[provider.docker]\nplugin = \"docker\"\n\
             endpoint.engine = {{ url = \"unix://{}\" }}\n\n\
             [workload.web]\nprovider = \"docker\"\ntarget = \"by-library\"\nidle = \"1s\"\n\
             sleep = {{ grace = \"1s\" }}\n\n\
             [[route]]\nworkload = \"web\"\nport = 80\n",
            engine.socket().display(),
        ),
    )?;
    allow(&home)?;
    let router = home.start()?;
    assert_eq!(router.provider("docker")?["plugin"], "docker 0.1.0 (dylib)");

    assert_eq!(router.get("any.example", "/")?.status, 200);
    assert!(engine.is_running("by-library")?);
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert!(!engine.is_running("by-library")?);

    // The library's watch reports external changes.
    engine.run(&["start", "by-library"])?;
    router.wait_for_phase("web", "ready", PATIENCE)?;
    Ok(())
}
