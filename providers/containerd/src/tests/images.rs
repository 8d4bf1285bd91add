//! Pulling from registries.

use drowse_provider_sdk::{
    Error,
    testing::{Reply, Request},
};

use super::*;

const NAME: &str = "reg.lan/team/box:1";

fn digest(number: u8) -> String {
    format!("sha256:{number:064x}")
}

fn with_registry(more: Value) -> Script {
    let mut settings =
        json!({ "network": "lan", "registries": { "reg.lan": "registry" }, "pull": "newer" });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    Script::new(settings)
}

impl Script {
    fn asked_registry(&self, request: &str, reply: Reply) -> &Self {
        self.0.expect("registry", request, reply);
        self
    }

    /// The image is local with digest 1, and a container is created from it.
    fn created_from_the_local_image(&self) {
        self.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
        self.image_is_local();
    }

    fn image_is_local(&self) {
        let target = proto::Descriptor { digest: digest(1), ..proto::Descriptor::default() };
        let found = proto::Image { name: NAME.into(), target: Some(target) };
        self.call(
            IMAGES,
            "Get",
            message(&proto::OneImage { image: Some(found), update_mask: None }),
        );
    }

    /// The image is opened, which fails.
    fn opened(&self) {
        self.call(CONTENT, "Read", Answer::status(5, "that is enough"));
    }

    fn start_box(&self) -> Error {
        self.0.start(("web", json!({ "image": NAME }))).unwrap_err()
    }

    fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }

    fn local_image_warning(&self) -> String {
        let logs = self.0.logs();
        let local_image_warning =
            logs.iter().filter(|it| it.message.contains("using the local image"));
        local_image_warning.map(|it| it.message.clone()).collect()
    }
}

const HEAD: &str = "HEAD /v2/team/box/manifests/1";

#[test]
fn a_registry_is_asked_for_every_media_type_within_fifteen_seconds() {
    let test = with_registry(json!({}));
    test.created_from_the_local_image();
    let same = Reply::status(200).header("docker-content-digest", &digest(1));
    test.asked_registry(HEAD, same).opened();
    test.start_box();
    let asked = &test.requests()[0];
    assert_eq!(asked.timeout_ms, Some(15_000));
    let accept = &asked.headers[0];
    assert_eq!(accept.name, "accept");
    for kind in ["oci.image.index.v1", "oci.image.manifest.v1", "manifest.list.v2", "manifest.v2"] {
        assert!(accept.value.contains(kind), "{kind}: {}", accept.value);
    }
    assert_eq!(test.local_image_warning(), "");
}

#[test]
fn the_registry_timeout_is_configurable() {
    let test = with_registry(json!({ "registry-timeout": "2s" }));
    test.created_from_the_local_image();
    test.asked_registry(HEAD, Reply::error(Error::timeout("no answer within 2s"))).opened();
    test.start_box();
    assert_eq!(test.requests()[0].timeout_ms, Some(2_000));
    assert!(
        test.local_image_warning().contains("no answer within 2s"),
        "{}",
        test.local_image_warning()
    );
}

#[test]
fn a_missing_digest_is_computed_from_the_manifest() {
    let test = with_registry(json!({}));
    test.created_from_the_local_image();
    test.asked_registry(HEAD, Reply::status(200));
    let get = "GET /v2/team/box/manifests/1";
    test.asked_registry(get, Reply::status(200).body("what it stands for"));
    // The digest differs, so the image is fetched by it.
    // printf 'what it stands for' | sha256sum
    let by = "GET /v2/team/box/manifests/sha256:\
              6467801b1d18e9778fa4c324a9341becb5b8d4f76605c8c21a69281b3998ffe4";
    test.asked_registry(by, Reply::status(404)).opened();
    test.start_box();
    assert!(test.local_image_warning().contains("404"), "{}", test.local_image_warning());
}

#[test]
fn a_rate_limited_request_is_retried_within_the_timeout() {
    let test = with_registry(json!({}));
    test.created_from_the_local_image();
    test.asked_registry(HEAD, Reply::status(429).header("retry-after", "3"));
    let same = Reply::status(200).header("docker-content-digest", &digest(1));
    test.asked_registry(HEAD, same).opened();
    test.start_box();
    assert_eq!(test.0.elapsed(), Duration::from_secs(3));
    assert_eq!(test.requests()[1].timeout_ms, Some(12_000), "all in all fifteen seconds");

    let test = with_registry(json!({}));
    test.created_from_the_local_image();
    test.asked_registry(HEAD, Reply::status(429).header("retry-after", "60")).opened();
    test.start_box();
    assert_eq!(test.0.elapsed(), Duration::ZERO);
    assert!(
        test.local_image_warning().contains("retry after 60 seconds"),
        "{}",
        test.local_image_warning()
    );
}

#[test]
fn missing_credentials_and_tokens_are_told_apart() {
    for (challenge, expected) in [
        ("Basic realm=\"x\"", "grant the registry's endpoint credentials"),
        ("Bearer realm=\"https://auth.lan/token\"", "requires a token"),
    ] {
        let test = with_registry(json!({}));
        test.created_from_the_local_image();
        let refusal = Reply::status(401).header("www-authenticate", challenge);
        test.asked_registry(HEAD, refusal).opened();
        test.start_box();
        assert!(test.local_image_warning().contains(expected), "{}", test.local_image_warning());
    }
}

#[test]
fn a_registry_is_not_asked_by_pull_policy() {
    for (settings, name) in [
        (json!({ "pull": "missing" }), NAME.to_owned()),
        (json!({ "pull": "never" }), NAME.to_owned()),
        (json!({ "registries": {} }), NAME.to_owned()),
        (json!({}), format!("reg.lan/team/box@{}", digest(1))),
    ] {
        let test = with_registry(settings);
        test.created_from_the_local_image();
        test.opened();
        test.0.start(("web", json!({ "image": name }))).unwrap_err();
        assert!(test.requests().is_empty());
    }
    // The container's setting overrides the provider's.
    let test = with_registry(json!({ "pull": "missing" }));
    test.created_from_the_local_image();
    let same = Reply::status(200).header("docker-content-digest", &digest(1));
    test.asked_registry(HEAD, same).opened();
    test.0.start(("web", json!({ "image": NAME, "pull": "newer" }))).unwrap_err();
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let test = with_registry(json!({}));
    test.created_from_the_local_image();
    let other = Reply::status(200).header("docker-content-digest", &digest(2));
    test.asked_registry(HEAD, other);
    let get = format!("GET /v2/team/box/manifests/{}", digest(2));
    test.asked_registry(&get, Reply::json(json!({})));
    test.opened();
    test.start_box();
    assert!(
        test.local_image_warning().contains("with content of digest"),
        "{}",
        test.local_image_warning()
    );
}

/// Fetches an image of one layer of this size, up to the layer.
fn up_to_the_layer(test: &Script, size: usize) -> String {
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    test.call(IMAGES, "Get", Answer::status(5, "no such image"));
    let manifest = json!({
        "config": { "digest": digest(2), "size": 3 },
        "layers": [{ "digest": digest(3), "size": size }],
    });
    test.asked_registry("GET /v2/team/box/manifests/1", Reply::json(manifest));
    test.ok(LEASES, "Create");
    // The configuration is already local.
    test.call(CONTENT, "Write", Answer::status(6, "already exists"));
    test.call(CONTENT, "Write", message(&proto::Written { offset: 0 }));
    format!("GET /v2/team/box/blobs/{}", digest(3))
}

fn writes(test: &Script) -> Vec<proto::Write> {
    let asked = test.requests_of(".Content/Write");
    asked.iter().map(|ask| proto::Write::decode(ask.as_slice()).unwrap()).collect()
}

#[test]
fn a_layer_is_transferred_in_pieces_and_committed_at_its_end() {
    let test = with_registry(json!({}));
    let size = (8 << 20) + 5;
    let layer = up_to_the_layer(&test, size);
    test.asked_registry(&layer, Reply::status(206).body(vec![7; 8 << 20]));
    test.call(CONTENT, "Write", message(&proto::Written { offset: 8 << 20 }));
    test.asked_registry(&layer, Reply::status(206).body(vec![8; 5]));
    test.call(CONTENT, "Write", Answer::status(9, "unexpected digest")).ok(CONTENT, "Abort");
    let error = test.start_box();
    assert!(error.message().contains("unexpected digest"), "{error}");
    let ranges: Vec<_> =
        test.requests()[1..].iter().map(|it| it.headers[0].value.clone()).collect();
    assert_eq!(ranges, ["bytes=0-8388607", "bytes=8388608-8388612"]);
    let writes = writes(&test);
    let seen: Vec<_> = writes.iter().map(|it| (it.action, it.offset, it.data.len())).collect();
    assert_eq!(seen, [(0, 0, 0), (0, 0, 0), (1, 0, 8 << 20), (2, 8 << 20, 5)]);
    assert!(writes[1..].iter().all(|it| it.expected == digest(3) && it.total == size as i64));
    let leases = test.0.calls();
    let leased = leases.iter().filter(|it| it.method.ends_with("/Write"));
    assert!(leased.into_iter().all(|it| it.metadata[1].name == "containerd-lease"));
}

#[test]
fn a_registry_without_ranges_is_read_in_one_response() {
    let test = with_registry(json!({}));
    let layer = up_to_the_layer(&test, (8 << 20) + 5);
    let whole = Reply::status(200).body(vec![7; (8 << 20) - 1]).body(vec![7; 6]);
    test.asked_registry(&layer, whole);
    test.call(CONTENT, "Write", message(&proto::Written { offset: 8 << 20 }));
    test.call(CONTENT, "Write", Answer::status(13, "that is enough"));
    test.start_box();
    let sizes: Vec<_> = writes(&test).iter().map(|it| it.data.len()).collect();
    assert_eq!(sizes, [0, 0, 8 << 20, 5]);
}

#[test]
fn a_concurrent_write_by_another_client_is_waited_for() {
    let test = with_registry(json!({}));
    let layer = up_to_the_layer(&test, 9);
    test.asked_registry(&layer, Reply::status(206).body(vec![7; 9]));
    test.call(CONTENT, "Write", Answer::status(11, "must occur at current offset"));
    test.call(CONTENT, "Write", Answer::status(14, "locked"));
    test.call(CONTENT, "Write", message(&proto::Written { offset: 4 }));
    test.asked_registry(&layer, Reply::status(200).body(*b"012345678"));
    test.call(CONTENT, "Write", Answer::status(13, "that is enough"));
    test.start_box();
    assert_eq!(writes(&test).last().unwrap().data, b"45678");
}

#[test]
fn a_layer_that_is_too_short_is_an_error() {
    let test = with_registry(json!({}));
    let layer = up_to_the_layer(&test, 9);
    test.asked_registry(&layer, Reply::status(206).body(vec![7; 8]));
    let error = test.start_box();
    assert!(error.message().contains("is too short"), "{error}");
}

#[test]
fn redirects_for_layers_go_only_to_configured_hosts() {
    let elsewhere = || Reply::status(307).header("location", "https://cdn.lan/data/x?sig=a%2Fb");
    let test = with_registry(json!({}));
    let layer = up_to_the_layer(&test, 9);
    test.asked_registry(&layer, elsewhere());
    let error = test.start_box();
    assert!(error.message().contains("\"cdn.lan\""), "{error}");
    assert!(error.message().contains("registries"), "{error}");

    let registries = json!({ "reg.lan": "registry", "cdn.lan": "registry" });
    let test = with_registry(json!({ "registries": registries }));
    test.0.allow("registry", ["GET /data/*?*"]);
    let layer = up_to_the_layer(&test, 9);
    test.asked_registry(&layer, elsewhere());
    test.asked_registry("GET /data/x?sig=a%2Fb", Reply::status(500));
    let error = test.start_box();
    assert!(error.message().contains("500"), "{error}");
    assert_eq!(test.requests()[2].headers[0].value, "bytes=0-8");
}

#[test]
fn a_missing_image_is_reported_with_what_to_do() {
    let test = with_registry(json!({ "registries": {} }));
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    test.call(IMAGES, "Get", Answer::status(5, "no such image"));
    let error = test.start_box();
    assert_eq!(*error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("registries") && error.message().contains("ctr"), "{error}");
}

#[test]
fn fetch_pulls_a_newer_image_and_changes_nothing_else() {
    let test = with_registry(json!({ "pull": "missing" }));
    test.image_is_local();
    let same = Reply::status(200).header("docker-content-digest", &digest(1));
    test.asked_registry(HEAD, same);
    test.0.fetch(("web", json!({ "image": NAME }))).unwrap();

    // The local image is used.
    test.image_is_local();
    test.asked_registry(HEAD, Reply::error(Error::unavailable("the registry is down")));
    test.0.fetch(("web", json!({ "image": NAME }))).unwrap();
    assert!(
        test.local_image_warning().contains("the registry is down"),
        "{}",
        test.local_image_warning()
    );

    let error = test.0.fetch(("web", json!({}))).unwrap_err();
    assert!(error.message().contains("the container has no image"), "{error}");
}
