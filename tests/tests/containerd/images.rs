//! Pulling images: the containerd provider and a real registry.

use std::fs;

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Containerd, Registry, Router, TokenServer, containerd::Image, token_server::AUTHORIZATION,
    until,
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

/// Repeats a request after a failed wake, until the cool-down is over.
fn visit_after_cooldown(router: &Router) -> Result<String> {
    until("it is woken", PATIENCE, || visit(router, "/").ok())
}

#[test]
fn a_missing_image_is_pulled_for_this_architecture_whatever_its_size() -> Result<()> {
    let test = "an_image_that_is_not_here_is_pulled";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/pulled:1", registry.name());
    let others = Image::new(&format!("{name}-others"), "another machine's").for_machine("s390x");
    daemon.import(&others)?;
    let other = daemon.digest(&format!("{name}-others"))?.context("it is imported")?;
    // Larger than the limit of a response and the memory of a call.
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
        "the image is not the index"
    );
    let there = daemon.run(&["content", "list", "--quiet"])?;
    assert!(there.contains(&own) && !there.contains(&other), "{there}");
    let leases = daemon.run(&["leases", "list", "--quiet"])?;
    assert!(
        !leases.contains(&digest["sha256:".len()..][..16]),
        "a lease of the pull is left: {leases}"
    );
    // The fetched content is referenced by the image, so garbage collection keeps it.
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    daemon.run(&["containers", "delete", "pulled"])?;
    daemon.run(&["leases", "create", "--id", "collect-pulled"])?;
    daemon.run(&["leases", "delete", "--sync", "collect-pulled"])?;
    drop(registry);
    assert_eq!(visit(&router, "/")?, "<p>pulled</p>");
    Ok(())
}

#[test]
fn a_newer_image_is_used_only_when_a_container_is_created() -> Result<()> {
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
    assert_eq!(visit(&router, "/")?, "<p>second</p>", "the container's image changed");
    Ok(())
}

#[test]
fn the_local_image_is_used_if_the_registry_is_unreachable() -> Result<()> {
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
    let status = router.workload("web")?.to_string();
    assert!(status.contains("ask") || status.contains("pull image"), "{status}");
    assert!(status.contains("cannot be reached"), "{status}");

    daemon.import(&Image::new(&name, "here"))?;
    assert_eq!(visit_after_cooldown(&router)?, "<p>here</p>");
    let log = router.log().tail(100);
    assert!(log.contains("using the local image"), "{log}");
    Ok(())
}

#[test]
fn content_with_a_wrong_digest_is_refused_and_fetched_again() -> Result<()> {
    let test = "content_that_is_not_what_its_digest_says";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/broken:1", registry.name());
    let manifest = daemon.publish(&Image::new(&name, "whole").with_megabytes(20))?;
    let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(&manifest))?)?;
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().context("no layer")?);
    let whole = fs::read(&layer)?;
    let mut broken = whole.clone();
    // In the last of several chunks.
    *broken.last_mut().context("it is empty")? ^= 1;
    fs::write(&layer, broken)?;

    let router =
        start(Setting::new(daemon, "broken", "never").with_registry(&registry, &name).home()?)?;
    let answer = router.get("any.example", "/")?;
    ensure!([502, 503].contains(&answer.status), "{}", answer.status);
    let status = router.workload("web")?.to_string();
    assert!(status.contains("unexpected commit digest"), "{status}");
    assert_eq!(daemon.digest(&name)?, None);
    fs::write(&layer, whole)?;
    assert_eq!(visit_after_cooldown(&router)?, "<p>whole</p>");
    Ok(())
}

#[test]
fn a_registry_that_requires_a_token_gets_one_that_the_plugin_does_not_see() -> Result<()> {
    let test = "a_registry_that_wants_a_token";
    let Some(daemon) = Containerd::shared(test) else { return Ok(()) };
    let Some(mut registry) = Registry::begin(test)? else { return Ok(()) };
    let name = format!("{}/team/guarded:1", registry.name());
    daemon.publish(&Image::new(&name, "guarded").with_megabytes(20))?;
    let tokens = TokenServer::begin()?;
    registry.require_tokens(&tokens)?;

    let setting = Setting::new(daemon, "unguarded", "never").with_registry(&registry, &name);
    let router = start(setting.home()?)?;
    let answer = router.get("any.example", "/")?;
    ensure!([502, 503].contains(&answer.status), "{}", answer.status);
    let status = router.workload("web")?.to_string();
    assert!(
        status.contains("401") && status.contains("token"),
        "the grant to add is missing: {status}"
    );
    drop(router);

    let keys = format!(
        ", token = {{ url = {:?}, headers = {{ Authorization = {AUTHORIZATION:?} }} }}",
        tokens.url()
    );
    let setting =
        Setting::new(daemon, "guarded", "never").with_registry_and(&registry, &name, &keys);
    let router = start(setting.home()?)?;
    assert_eq!(visit(&router, "/")?, "<p>guarded</p>");
    assert_eq!(tokens.issued(), 1, "more than one token was requested");
    let log = router.log().tail(1000);
    assert!(!log.contains("Bearer ey") && !log.contains(AUTHORIZATION), "{log}");
    Ok(())
}
