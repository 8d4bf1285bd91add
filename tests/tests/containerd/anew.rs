//! Containers that are made anew, and what becomes of their data.

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

/// The registry has this image by that name, and the daemon has the one that it had.
fn publish_newer(daemon: &Containerd, image: &Image, name: &str) -> Result<()> {
    let had = format!("{name}-had");
    daemon.run(&["images", "tag", name, &had])?;
    daemon.publish(image)?;
    daemon.run(&["images", "tag", &had, name])?;
    daemon.run(&["images", "remove", "--sync", &had])?;
    Ok(())
}

#[test]
fn one_made_anew_has_the_newest_image_and_all_of_its_data() -> Result<()> {
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

    // The image is the same: the files stay where they are.
    let said = router.drowse(&["recreate", "web", "--wait"])?;
    assert_eq!(said, (true, "web: ready\n".to_owned()));
    assert_eq!(note(&router, "two")?, "one\ntwo");
    assert_ne!(daemon.task("anew")?, first, "another process");
    assert_eq!(daemon.addresses("anew")?, address);
    assert_eq!(snapshots(daemon, "anew")?, ["anew"]);

    daemon.publish(&Image::new(&name, "second"))?;
    let said = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert_eq!(said, (true, "web: ready\n".to_owned()));
    let (_, ops) = router.drowse(&["ops", "web"])?;
    assert!(ops.contains("fetch"), "it was fetched before anything was stopped: {ops}");
    assert_eq!(visit(&router, "/")?, "<p>second</p>");
    assert_eq!(note(&router, "three")?, "one\ntwo\nthree");
    assert_eq!(daemon.addresses("anew")?, address);
    let left = snapshots(daemon, "anew")?;
    assert!(left.len() == 1 && left[0] != "anew", "carried, and nothing is left behind: {left:?}");

    // What sleeps sleeps on.
    router.drowse(&["sleep", "web", "--wait"])?;
    daemon.publish(&Image::new(&name, "third"))?;
    let (worked, said) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(worked, "{said}");
    assert_eq!(daemon.task("anew")?, None);
    assert_eq!(visit(&router, "/")?, "<p>third</p>");
    assert_eq!(note(&router, "four")?, "one\ntwo\nthree\nfour");
    Ok(())
}

#[test]
fn a_new_one_that_does_not_live_leaves_the_old_one_serving_with_its_data() -> Result<()> {
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
    assert_eq!(daemon.digest(&name)?, lives, "the registry alone has the newer one");
    let (worked, said) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(!worked && said.contains("status 3"), "{said}");
    assert_eq!(visit(&router, "/")?, "<p>lives</p>");
    assert_eq!(note(&router, "two")?, "one\ntwo");
    assert_eq!(snapshots(daemon, "dies")?, ["dies"]);

    // One whose program is not there at all is never begun.
    assert_eq!(daemon.digest(&name)?, lives);
    publish_newer(daemon, &Image::new(&name, "lost").running(&["/bin/nowhere"]), &name)?;
    let (worked, said) = router.drowse(&["recreate", "web", "--refresh", "--wait"])?;
    assert!(!worked && said.contains("nowhere"), "{said}");
    assert_eq!(note(&router, "three")?, "one\ntwo\nthree");
    assert_eq!(snapshots(daemon, "dies")?, ["dies"]);

    // Whoever makes one by the image's name makes one that lives, of content that nobody collected.
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
fn data_is_carried_also_when_the_container_was_deleted_behind_our_back() -> Result<()> {
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
