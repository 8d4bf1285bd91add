//! Recreation of containers, and their data.

use anyhow::Result;
use drowse_tests::{Containerd, Registry, containerd::Image};

use super::{PATIENCE, Setting, note, start, visit};

/// The snapshots that hold a container's data.
fn snapshots(daemon: &Containerd, container: &str) -> Result<Vec<String>> {
    let listed = daemon.run(&["snapshots", "list"])?;
    let keys = listed.lines().filter_map(|line| line.split_whitespace().next());
    let its = |key: &&str| *key == container || key.starts_with(&format!("{container}@"));
    Ok(keys.filter(its).map(str::to_owned).collect())
}

/// Pushes a newer image to the registry without changing the local one.
fn publish_newer(daemon: &Containerd, image: &Image, name: &str) -> Result<()> {
    let had = format!("{name}-had");
    daemon.run(&["images", "tag", name, &had])?;
    daemon.publish(image)?;
    daemon.run(&["images", "tag", &had, name])?;
    daemon.run(&["images", "remove", "--sync", &had])?;
    Ok(())
}

#[test]
fn a_recreated_container_has_the_newest_image_and_all_of_its_data() -> Result<()> {
    let test = "one_made_anew_has_the_newest_image";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/anew:1", registry.name());
    daemon.publish(&Image::new(&name, "first"))?;
    let setting = Setting::new(daemon, "anew", "never").with_registry(&registry, &name);
    let router = start(setting.home()?)?;
    assert_eq!(visit(&router, "/")?, "<p>first</p>");
    assert_eq!(note(&router, "one")?, "one");
    let (first, address) = (daemon.task("anew")?, daemon.addresses("anew")?);

    // The same image: the snapshot is kept.
    let printed = router.drowse(&["recreate", "web", "--wait"])?;
    assert_eq!(printed, (true, "web: ready\n".to_owned()));
    assert_eq!(note(&router, "two")?, "one\ntwo");
    assert_ne!(daemon.task("anew")?, first, "the process was not replaced");
    assert_eq!(daemon.addresses("anew")?, address);
    assert_eq!(snapshots(daemon, "anew")?, ["anew"]);

    daemon.publish(&Image::new(&name, "second"))?;
    let printed = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert_eq!(printed, (true, "web: ready\n".to_owned()));
    let (_, ops) = router.drowse(&["ops", "web"])?;
    assert!(ops.contains("fetch"), "there was no fetch: {ops}");
    assert_eq!(visit(&router, "/")?, "<p>second</p>");
    assert_eq!(note(&router, "three")?, "one\ntwo\nthree");
    assert_eq!(daemon.addresses("anew")?, address);
    let left = snapshots(daemon, "anew")?;
    assert!(left.len() == 1 && left[0] != "anew", "the old snapshot was not replaced: {left:?}");

    // A sleeping workload stays asleep.
    router.drowse(&["sleep", "web", "--wait"])?;
    daemon.publish(&Image::new(&name, "third"))?;
    let (worked, printed) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(worked, "{printed}");
    assert_eq!(daemon.task("anew")?, None);
    assert_eq!(visit(&router, "/")?, "<p>third</p>");
    assert_eq!(note(&router, "four")?, "one\ntwo\nthree\nfour");
    Ok(())
}

#[test]
fn a_failed_recreation_leaves_the_old_container_serving_with_its_data() -> Result<()> {
    let test = "a_new_one_that_does_not_live";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/dies:1", registry.name());
    daemon.publish(&Image::new(&name, "lives"))?;
    let setting = Setting::new(daemon, "dies", "never").with_registry(&registry, &name);
    let router = start(setting.home()?)?;
    assert_eq!(note(&router, "one")?, "one");
    let lives = daemon.digest(&name)?;
    publish_newer(daemon, &Image::new(&name, "dies").running(&["/bin/sh", "-c", "exit 3"]), &name)?;
    assert_eq!(daemon.digest(&name)?, lives, "the local image was changed");
    let (worked, printed) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(!worked && printed.contains("status 3"), "{printed}");
    assert_eq!(visit(&router, "/")?, "<p>lives</p>");
    assert_eq!(note(&router, "two")?, "one\ntwo");
    assert_eq!(snapshots(daemon, "dies")?, ["dies"]);

    // A container whose program does not exist is not started.
    assert_eq!(daemon.digest(&name)?, lives);
    publish_newer(daemon, &Image::new(&name, "lost").running(&["/bin/nowhere"]), &name)?;
    let (worked, printed) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(!worked && printed.contains("nowhere"), "{printed}");
    assert_eq!(note(&router, "three")?, "one\ntwo\nthree");
    assert_eq!(snapshots(daemon, "dies")?, ["dies"]);

    // The image name refers to the working image, whose content was not garbage collected.
    assert_eq!(daemon.digest(&name)?, lives);
    assert!(!daemon.run(&["leases", "list", "--quiet"])?.contains("before-dies"));
    router.drowse(&["sleep", "web", "--wait"])?;
    daemon.run(&["containers", "delete", "dies"])?;
    daemon.run(&["leases", "create", "--id", "collect-dies"])?;
    daemon.run(&["leases", "delete", "--sync", "collect-dies"])?;
    drop(registry);
    assert_eq!(visit(&router, "/")?, "<p>lives</p>");
    Ok(())
}

#[test]
fn data_is_copied_to_a_newer_image_even_if_the_container_was_deleted_externally() -> Result<()> {
    let test = "data_is_carried_also_when";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/carried:1", registry.name());
    daemon.publish(&Image::new(&name, "first"))?;
    let setting = Setting::new(daemon, "carried", "500ms").with_registry(&registry, &name);
    let router = start(setting.home()?)?;
    assert_eq!(note(&router, "one")?, "one");
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    daemon.run(&["containers", "delete", "--keep-snapshot", "carried"])?;
    daemon.publish(&Image::new(&name, "second"))?;
    assert_eq!(note(&router, "two")?, "one\ntwo");
    assert_eq!(visit(&router, "/")?, "<p>second</p>");
    assert_eq!(snapshots(daemon, "carried")?.len(), 1);
    Ok(())
}
