use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, RecreateOptions, StopOptions, testing::Logged};

use super::*;

const FULL: &str = include_str!("../../fixtures/recreate/full.json");
const IMAGE: &str = include_str!("../../fixtures/recreate/image.json");
const PULL: &str = include_str!("../../fixtures/recreate/pull.txt");

const NAME: &str = "registry.lan:5000/team/rich:1";
const BY_NAME: &str = "GET /v1.41/images/registry.lan%3A5000/team/rich%3A1/json";
const ASK: &str = "GET /v1.41/distribution/registry.lan%3A5000/team/rich%3A1/json";
const FETCH: &str = "POST /v1.41/images/create?fromImage=registry.lan%3A5000%2Fteam%2Frich&tag=1";
const DIGEST: &str = "sha256:6d7845bb91ecc8a4d567385f0d5a1352d765d22d79e0332c21030da5f3dc7227";

/// A recreation with a refresh, up to the image: the container's own image is gone, so nothing is
/// changed.
struct Refresh(Harness<Docker>);

impl Refresh {
    fn new(name: &str, settings: Value) -> Self {
        let test = engine("1.41", settings);
        let mut full: Value = serde_json::from_str(FULL).unwrap();
        full["Config"]["Image"] = json!(name);
        test.expect("engine", "GET /v1.41/containers/full/json", Reply::json(full));
        for aside in ["full.drowse-ran", "full.drowse-old"] {
            test.expect("engine", &format!("GET /v1.41/containers/{aside}/json"), missing());
        }
        Self(test)
    }

    fn then(self, endpoint: &str, request: &str, reply: Reply) -> Self {
        self.0.expect(endpoint, request, reply);
        self
    }

    /// The error and the warnings. No error if the recreation stops only at the missing own image.
    fn ends(self, found: Option<&str>) -> (Option<Error>, Vec<String>) {
        if let Some(by_name) = found {
            let image: Value = serde_json::from_str(IMAGE).unwrap();
            let id = image["Id"].as_str().unwrap().replace(':', "%3A");
            self.0.expect("recreate", by_name, recorded(IMAGE));
            self.0.expect("recreate", &format!("GET /v1.41/images/{id}/json"), missing());
        }
        let stop = StopOptions::new(Duration::from_secs(5));
        let options = RecreateOptions { refresh: true, stop, attributes: Vec::new() };
        let error = self.0.recreate("full", options).unwrap_err();
        let warned = |line: &Logged| line.level == drowse_provider_sdk::log::Level::Warn;
        let warnings = self.0.logs().into_iter().filter(warned).map(|line| line.message);
        let gone = error.message().ends_with("recreate the container manually");
        assert_eq!(gone, found.is_some(), "{error}");
        ((!gone).then_some(error), warnings.collect())
    }
}

fn local_image() -> Reply {
    let digests = json!([format!("registry.lan:5000/team/rich@{DIGEST}")]);
    changed(IMAGE, "/RepoDigests", digests)
}

fn registry_digest(digest: &str) -> Reply {
    Reply::json(json!({ "Descriptor": { "digest": digest, "size": 734 } }))
}

fn pulled() -> Reply {
    Reply::status(200).body(PULL)
}

#[test]
fn an_up_to_date_image_is_not_pulled() {
    let refresh = Refresh::new(NAME, json!({}));
    let refresh = refresh.then("recreate", BY_NAME, local_image()).then(
        "recreate",
        ASK,
        registry_digest(DIGEST),
    );
    assert_eq!(refresh.ends(Some(BY_NAME)), (None, vec![]));
}

#[test]
fn a_newer_image_is_pulled_with_progress_logs() {
    let refresh = Refresh::new(NAME, json!({}));
    let mut reply = Reply::status(200);
    for line in PULL.lines() {
        reply = reply.body(line.to_owned()).pause(Duration::from_secs(1));
    }
    let refresh = refresh
        .then("recreate", BY_NAME, local_image())
        .then("recreate", ASK, registry_digest("sha256:newer"))
        .then("recreate", FETCH, reply);
    let test = &refresh.0;
    let logs = || test.logs().into_iter().map(|line| line.message).collect::<Vec<_>>();
    let image: Value = serde_json::from_str(IMAGE).unwrap();
    let id = image["Id"].as_str().unwrap().replace(':', "%3A");
    test.expect("recreate", BY_NAME, recorded(IMAGE));
    test.expect("recreate", &format!("GET /v1.41/images/{id}/json"), missing());
    let stop = StopOptions::new(Duration::from_secs(5));
    let options = RecreateOptions { refresh: true, stop, attributes: Vec::new() };
    test.recreate("full", options).unwrap_err();
    assert_eq!(
        logs(),
        [
            "pulling the image",
            "pulling the image: 2 of 3 layers, 28.8 of 30.0 MB of the started layers",
            "pulling the image: 2 of 3 layers, 30.0 of 30.0 MB of the started layers",
            "pulled the image: Downloaded newer image for registry.lan:5000/team/rich:1",
        ]
    );
}

#[test]
fn a_missing_image_is_pulled_without_a_lookup() {
    let refresh = Refresh::new(NAME, json!({}));
    let refresh = refresh.then("recreate", BY_NAME, missing()).then("recreate", FETCH, pulled());
    assert_eq!(refresh.ends(Some(BY_NAME)), (None, vec![]));

    let refresh = Refresh::new(NAME, json!({}));
    let refused = refused(404, "manifest unknown");
    let refresh = refresh.then("recreate", BY_NAME, missing()).then("recreate", FETCH, refused);
    let (error, _) = refresh.ends(None);
    let error = error.unwrap();
    assert_eq!(*error.code(), ErrorCode::NotFound);
    assert!(error.message().ends_with("manifest unknown"), "{error}");
}

#[test]
fn the_local_image_is_used_if_the_registry_is_unreachable() {
    for reply in [
        refused(500, "connection refused"),
        refused(401, "unauthorized"),
        Reply::status(200).after(Duration::from_secs(20)),
        Reply::status(200).body("what?"),
    ] {
        let refresh = Refresh::new(NAME, json!({}));
        let refresh = refresh.then("recreate", BY_NAME, local_image()).then("recreate", ASK, reply);
        let (error, warnings) = refresh.ends(Some(BY_NAME));
        assert_eq!((error, warnings.len()), (None, 1));
        let said = "using the local image: ask the registry registry.lan:5000 for \
                    registry.lan:5000/team/rich:1: ";
        assert!(warnings[0].starts_with(said), "{warnings:?}");
    }
}

#[test]
fn a_pull_that_fails_midway_is_an_error() {
    let failure = "{\"errorDetail\":{\"message\":\"unexpected EOF\"},\"error\":\"unexpected EOF\"}";
    for reply in [
        Reply::status(200).body(PULL.lines().next().unwrap().to_owned()).body(failure),
        Reply::status(200).body("{\"error\":\"unexpected EOF\"}"),
        Reply::status(200).breaks(Error::internal("unexpected EOF")),
    ] {
        let refresh = Refresh::new(NAME, json!({}))
            .then("recreate", BY_NAME, local_image())
            .then("recreate", ASK, registry_digest("sha256:newer"))
            .then("recreate", FETCH, reply);
        let (error, warnings) = refresh.ends(Some(BY_NAME));
        assert_eq!((error, warnings.len()), (None, 1));
        assert!(warnings[0].ends_with("unexpected EOF"), "{warnings:?}");
    }
}

#[test]
fn a_missing_grant_is_an_error() {
    let denied = || Reply::error(Error::denied("not granted: add …"));
    let refresh = Refresh::new(NAME, json!({}));
    let refresh = refresh.then("recreate", BY_NAME, local_image()).then("recreate", ASK, denied());
    assert_eq!(*refresh.ends(None).0.unwrap().code(), ErrorCode::Denied);
    let refresh = Refresh::new(NAME, json!({}))
        .then("recreate", BY_NAME, local_image())
        .then("recreate", ASK, registry_digest("sha256:newer"))
        .then("recreate", FETCH, denied());
    assert_eq!(*refresh.ends(None).0.unwrap().code(), ErrorCode::Denied);
}

#[test]
fn credentials_go_only_to_their_registry() {
    let settings = json!({ "registries": { "registry.lan:5000": "registry" } });
    let allowed = |refresh: Refresh, registry: &str| {
        refresh.0.allow(
            "registry",
            [
                format!("GET /*/distribution/{registry}/**"),
                format!("POST /*/images/create?fromImage={registry}/*&tag=*"),
            ],
        );
        refresh
    };
    let refresh = allowed(Refresh::new(NAME, settings.clone()), "registry.lan:5000")
        .then("recreate", BY_NAME, local_image())
        .then("registry", ASK, registry_digest("sha256:newer"))
        .then("registry", FETCH, pulled());
    assert_eq!(refresh.ends(Some(BY_NAME)), (None, vec![]));
    let other = "GET /v1.41/images/rich%3A1/json";
    let refresh = Refresh::new("rich:1", settings).then("recreate", other, local_image()).then(
        "recreate",
        "GET /v1.41/distribution/rich%3A1/json",
        registry_digest(DIGEST),
    );
    assert_eq!(refresh.ends(Some(other)), (None, vec![]));

    // The registry's name is added to an image name without one, because the rules of the endpoint
    // with credentials compare it.
    let hub = json!({ "registries": { "docker.io": "registry" } });
    let refresh = allowed(Refresh::new("rich:1", hub), "docker.io")
        .then("recreate", other, local_image())
        .then(
            "registry",
            "GET /v1.41/distribution/docker.io/rich%3A1/json",
            registry_digest("sha256:newer"),
        )
        .then("registry", "POST /v1.41/images/create?fromImage=docker.io%2Frich&tag=1", pulled());
    assert_eq!(refresh.ends(Some(other)), (None, vec![]));

    let wrong =
        Harness::<Docker>::with_settings(json!({ "registries": { "https://x": "registry" } }));
    let error = wrong.configure().unwrap_err();
    assert!(error.message().contains("\"https://x\" is not the beginning"), "{error}");
}

#[test]
fn an_image_by_digest_or_id_is_never_refreshed() {
    // By digest and by image id.
    let name = format!("rich@{DIGEST}");
    let by_name =
        format!("GET /v1.41/images/{}/json", name.replace('@', "%40").replace(':', "%3A"));
    let refresh = Refresh::new(&name, json!({})).then("recreate", &by_name, local_image());
    assert_eq!(refresh.ends(Some(&by_name)), (None, vec![]));
    for id in ["sha256:7a73a3bbf4c5", "7a73a3bbf4c5"] {
        let by_id = format!("GET /v1.41/images/{}/json", id.replace(':', "%3A"));
        let refresh = Refresh::new(id, json!({})).then("recreate", &by_id, local_image());
        assert_eq!(refresh.ends(Some(&by_id)), (None, vec![]));
    }
    // Pulled by its digest if it is not local.
    let fetch =
        format!("POST /v1.41/images/create?fromImage=rich&tag={}", DIGEST.replace(':', "%3A"));
    let refresh = Refresh::new(&name, json!({}));
    let refresh = refresh.then("recreate", &by_name, missing()).then("recreate", &fetch, pulled());
    assert_eq!(refresh.ends(Some(&by_name)), (None, vec![]));
}

#[test]
fn podman_pulls_without_a_lookup() {
    let test = Harness::<Docker>::new();
    let ping =
        Reply::status(200).header("Api-Version", "1.41").header("Libpod-Api-Version", "4.3.1");
    test.expect("engine", "GET /_ping", ping);
    let mut full: Value = serde_json::from_str(FULL).unwrap();
    full["Config"]["Image"] = json!(NAME);
    test.expect("engine", "GET /v1.41/containers/full/json", Reply::json(full));
    for aside in ["full.drowse-ran", "full.drowse-old"] {
        test.expect("engine", &format!("GET /v1.41/containers/{aside}/json"), missing());
    }
    let refresh =
        Refresh(test).then("recreate", BY_NAME, local_image()).then("recreate", FETCH, pulled());
    assert_eq!(refresh.ends(Some(BY_NAME)), (None, vec![]));
}

#[test]
fn fetch_updates_the_image_and_no_container() {
    let test = engine("1.41", json!({}));
    let mut full: Value = serde_json::from_str(FULL).unwrap();
    full["Config"]["Image"] = json!(NAME);
    test.expect("engine", "GET /v1.41/containers/full/json", Reply::json(full));
    test.expect("recreate", BY_NAME, local_image());
    test.expect("recreate", ASK, registry_digest("sha256:newer"));
    test.expect("recreate", FETCH, pulled());
    test.fetch("full").unwrap();
}

#[test]
fn fetch_finds_a_container_that_was_set_aside() {
    let test = engine("1.41", json!({}));
    let mut full: Value = serde_json::from_str(FULL).unwrap();
    full["Config"]["Image"] = json!(NAME);
    full["Name"] = json!("/full.drowse-ran");
    test.expect("engine", "GET /v1.41/containers/full/json", missing());
    test.expect("engine", "GET /v1.41/containers/full.drowse-ran/json", Reply::json(full));
    test.expect("recreate", BY_NAME, local_image());
    test.expect("recreate", ASK, registry_digest(DIGEST));
    test.fetch("full").unwrap();

    for name in ["full", "full.drowse-ran", "full.drowse-old"] {
        test.expect("engine", &format!("GET /v1.41/containers/{name}/json"), missing());
    }
    let error = test.fetch("full").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("fetch a newer image for"), "{error}");
}
