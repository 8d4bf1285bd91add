//! Removal of containers, with and without their data.

use std::fs;

use anyhow::{Result, ensure};
use drowse_tests::{Containerd, Home, Programs, containerd::IMAGE};

use super::{Setting, note, start};

/// Removes a container through the conformance suite, because the router itself does not remove containers.
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
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(stdout.contains("passed   remove "), "{stdout}");
    Ok(())
}

#[test]
fn a_removed_container_leaves_its_data_only_if_requested() -> Result<()> {
    let Some(daemon) = Containerd::shared("taken_away_leaves") else { return Ok(()) };
    // Created with `ctr`, so its snapshot has no label that keeps it.
    daemon.run(&["containers", "create", IMAGE, "removed"])?;
    let router = start(Setting::new(daemon, "removed", "never").home()?)?;
    assert_eq!(note(&router, "one")?, "one");
    router.stop()?;
    assert!(daemon.task("removed")?.is_some(), "it must be running");
    remove(daemon, "removed", "keep-data = true\n")?;
    assert_eq!(daemon.task("removed")?, None);
    assert_eq!(daemon.addresses("removed")?, [""; 0]);
    assert!(!daemon.run(&["containers", "list", "--quiet"])?.contains("removed"));
    // The garbage collection keeps the data.
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
