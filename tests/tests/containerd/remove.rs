//! Containers that are taken away, with their data and without.

use std::fs;

use anyhow::{Result, ensure};
use drowse_tests::{Containerd, Home, Programs, containerd::IMAGE};

use super::{Setting, note, start};

/// Has a container taken away through the plugin alone: the router itself never does that.
fn remove(daemon: &Containerd, container: &str, test: &str) -> Result<()> {
    let home = Home::new(&Programs::from_env())?;
    home.configure("")?;
    let file = home.path().join("grants.toml");
    let provider = daemon.provider("", "");
    let test = format!(
        "{provider}[test]\ntarget = \"{container}\"\ngrace = \"1s\"\nmay-remove = true\n{test}"
    );
    fs::write(&file, test)?;
    let file = file.to_string_lossy();
    let output = home.drowse(&["plugin", "test", "containerd", "--grants", &file])?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(told.contains("passed   remove "), "{told}");
    Ok(())
}

#[test]
fn a_container_that_is_taken_away_leaves_its_data_or_nothing() -> Result<()> {
    let Some(daemon) = Containerd::shared("taken_away_leaves") else { return Ok(()) };
    // Made by somebody else, who did not mean its data to outlive it.
    daemon.run(&["containers", "create", IMAGE, "removed"])?;
    let router = start(Setting::new(daemon, "removed", "never").home()?)?;
    assert_eq!(note(&router, "one")?, "one");
    router.stop()?;
    assert!(daemon.task("removed")?.is_some(), "it runs while it is taken away");
    remove(daemon, "removed", "keep-data = true\n")?;
    assert_eq!(daemon.task("removed")?, None);
    assert_eq!(daemon.addresses("removed")?, [""; 0]);
    assert!(!daemon.run(&["containers", "list", "--quiet"])?.contains("removed"));
    // Nobody has collected it.
    daemon.run(&["leases", "create", "--id", "collect-removed"])?;
    daemon.run(&["leases", "delete", "--sync", "collect-removed"])?;
    let router = start(Setting::new(daemon, "removed", "never").home()?)?;
    assert_eq!(note(&router, "two")?, "one\ntwo");
    router.stop()?;

    remove(daemon, "removed", "")?;
    assert_eq!(daemon.task("removed")?, None);
    assert_eq!(daemon.addresses("removed")?, [""; 0]);
    assert!(!daemon.run(&["containers", "list", "--quiet"])?.contains("removed"));
    assert!(!daemon.run(&["snapshots", "list"])?.contains("removed"));
    Ok(())
}
