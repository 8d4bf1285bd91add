//! Where images come from: the containerd provider and a real registry.

use std::fs;

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Containerd, Giver, Registry, Router, containerd::Image, giver::AUTHORIZATION, until,
};
use serde_json::{Value, json};

use super::{PATIENCE, Setting, start, visit};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An entry of an index.
fn entry(daemon: &Containerd, digest: &str, architecture: &str) -> Result<serde_json::Value> {
    let size = daemon.run(&["content", "get", digest])?.len();
    Ok(json!({
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": digest,
        "size": size,
        "platform": { "os": "linux", "architecture": architecture },
    }))
}

/// A visit after the router has had a wake fail: for a while it does not try again.
fn visit_at_last(router: &Router) -> Result<String> {
    until("it is woken", PATIENCE, || visit(router, "/").ok())
}

#[test]
fn an_image_that_is_not_here_is_pulled_for_this_machine_however_large_it_is() -> Result<()> {
    let test = "an_image_that_is_not_here_is_pulled";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/pulled:1", registry.name());
    let others = Image::new(&format!("{name}-others"), "another machine's").for_machine("s390x");
    daemon.import(&others)?;
    let other = daemon.digest(&format!("{name}-others"))?.context("it is imported")?;
    // More than the router lets through in one answer, and than fits into the memory of a call.
    let own = Image::new(&format!("{name}-own"), "pulled").with_megabytes(70);
    daemon.import(&own)?;
    let own = daemon.digest(&format!("{name}-own"))?.context("it is imported")?;
    let entries = [entry(daemon, &other, "s390x")?, entry(daemon, &own, Image::machine())?];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    for (tag, platform) in [("others", "s390x"), ("own", Image::machine())] {
        let image = format!("{name}-{tag}");
        let platform = format!("linux/{platform}");
        daemon.run(&["images", "push", "--plain-http", "--platform", &platform, &image])?;
        daemon.run(&["images", "remove", "--sync", &image])?;
    }
    let digest = registry.put("team/pulled", "1", INDEX, &index.to_string())?;

    let router =
        start(Setting::new(daemon, "pulled", "500ms").with_registry(&registry, &name).home()?)?;
    assert_eq!(visit(&router, "/")?, "<p>pulled</p>");
    assert_eq!(
        daemon.digest(&name)?.as_deref(),
        Some(digest.as_str()),
        "as everybody else would have pulled it"
    );
    let there = daemon.run(&["content", "list", "--quiet"])?;
    assert!(there.contains(&own) && !there.contains(&other), "{there}");
    let leases = daemon.run(&["leases", "list", "--quiet"])?;
    assert!(
        !leases.contains(&digest["sha256:".len()..][..16]),
        "nothing is under way any more: {leases}"
    );
    // All that was fetched is held by the image's name: a collection of garbage changes nothing.
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    daemon.run(&["containers", "delete", "pulled"])?;
    daemon.run(&["leases", "create", "--id", "collect-pulled"])?;
    daemon.run(&["leases", "delete", "--sync", "collect-pulled"])?;
    drop(registry);
    assert_eq!(visit(&router, "/")?, "<p>pulled</p>");
    Ok(())
}

#[test]
fn a_newer_image_is_taken_when_a_container_is_made_and_not_before() -> Result<()> {
    let test = "a_newer_image_is_taken";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/newer:1", registry.name());
    daemon.publish(&Image::new(&name, "second"))?;
    daemon.import(&Image::new(&name, "first"))?;
    let router =
        start(Setting::new(daemon, "newer", "500ms").with_registry(&registry, &name).home()?)?;
    assert_eq!(visit(&router, "/")?, "<p>second</p>");
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    daemon.publish(&Image::new(&name, "third"))?;
    assert_eq!(visit(&router, "/")?, "<p>second</p>", "a container keeps its image");
    Ok(())
}

#[test]
fn an_image_that_is_here_does_where_the_registry_cannot_be_asked() -> Result<()> {
    let test = "an_image_that_is_here_does";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(mut registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/here:1", registry.name());
    daemon.publish(&Image::new(&name, "newer"))?;
    registry.stop()?;
    let router =
        start(Setting::new(daemon, "here", "never").with_registry(&registry, &name).home()?)?;
    let answer = router.get("any.example", "/")?;
    ensure!([502, 503].contains(&answer.status), "{}", answer.status);
    let said = router.workload("web")?.to_string();
    assert!(said.contains("ask") || said.contains("pull image"), "{said}");
    assert!(said.contains("cannot be reached"), "{said}");

    daemon.import(&Image::new(&name, "here"))?;
    assert_eq!(visit_at_last(&router)?, "<p>here</p>");
    let log = router.log().tail(100);
    assert!(log.contains("using the local image"), "{log}");
    Ok(())
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused_and_fetched_anew() -> Result<()> {
    let test = "content_that_is_not_what_its_digest_says";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/broken:1", registry.name());
    let manifest = daemon.publish(&Image::new(&name, "whole").with_megabytes(20))?;
    let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(&manifest))?)?;
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().context("no layer")?);
    let whole = fs::read(&layer)?;
    let mut broken = whole.clone();
    // In the last piece of several.
    *broken.last_mut().context("it is empty")? ^= 1;
    fs::write(&layer, broken)?;

    let router =
        start(Setting::new(daemon, "broken", "never").with_registry(&registry, &name).home()?)?;
    let answer = router.get("any.example", "/")?;
    ensure!([502, 503].contains(&answer.status), "{}", answer.status);
    let said = router.workload("web")?.to_string();
    assert!(said.contains("unexpected commit digest"), "{said}");
    assert_eq!(daemon.digest(&name)?, None);
    fs::write(&layer, whole)?;
    assert_eq!(visit_at_last(&router)?, "<p>whole</p>");
    Ok(())
}

#[test]
fn a_registry_that_wants_a_token_is_shown_one_and_the_plugin_sees_nothing_of_it() -> Result<()> {
    let test = "a_registry_that_wants_a_token";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(mut registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/guarded:1", registry.name());
    daemon.publish(&Image::new(&name, "guarded").with_megabytes(20))?;
    let giver = Giver::begin()?;
    registry.guard(&giver)?;

    let setting = Setting::new(daemon, "unguarded", "never").with_registry(&registry, &name);
    let router = start(setting.home()?)?;
    let answer = router.get("any.example", "/")?;
    ensure!([502, 503].contains(&answer.status), "{}", answer.status);
    let said = router.workload("web")?.to_string();
    assert!(said.contains("401") && said.contains("token"), "it says what to grant: {said}");
    drop(router);

    let keys = format!(
        ", token = {{ url = {:?}, headers = {{ Authorization = {AUTHORIZATION:?} }} }}",
        giver.url()
    );
    let setting =
        Setting::new(daemon, "guarded", "never").with_registry_and(&registry, &name, &keys);
    let router = start(setting.home()?)?;
    assert_eq!(visit(&router, "/")?, "<p>guarded</p>");
    assert_eq!(giver.given(), 1, "one token for all of its pieces");
    let log = router.log().tail(1000);
    assert!(!log.contains("Bearer ey") && !log.contains(AUTHORIZATION), "{log}");
    Ok(())
}
