//! Creating containers that do not exist.

use super::*;

/// The image `box:1` is local.
pub(super) fn image(test: &Script) {
    let digest = |number: u8| format!("sha256:{number:064x}");
    let target = proto::Descriptor { digest: digest(1), ..proto::Descriptor::default() };
    let found = proto::Image { name: "box:1".into(), target: Some(target) };
    test.call(IMAGES, "Get", message(&proto::OneImage { image: Some(found), update_mask: None }));
    let piece = |value: Value| {
        Answer::message(proto::Content { data: value.to_string().into_bytes() }.encode_to_vec())
    };
    let config = json!({
        "config": { "Env": ["A=1", "B=2"], "Cmd": ["/server"], "StopSignal": "SIGINT" },
        "rootfs": { "diff_ids": [digest(3)] },
    });
    test.call(CONTENT, "Read", piece(json!({ "config": { "digest": digest(2) } })));
    test.call(CONTENT, "Read", piece(config));
    let info = proto::SnapshotInfo { name: digest(3), ..Default::default() };
    test.call(SNAPSHOTS, "Stat", message(&proto::OneSnapshot { info: Some(info) }));
}

fn started(test: &Script) {
    test.no_task().created();
    test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.2".into()]));
    test.ok(CONTAINERS, "Update").ok(TASKS, "Start");
    test.container(&web(&[("drowse.address", "70 10.0.0.2")])).task(proto::Status::Running);
}

pub(super) fn template() -> (&'static str, Value) {
    ("web", json!({ "image": "box:1", "env": { "B": "3" }, "labels": { "own": "label" } }))
}

#[test]
fn a_container_is_created_from_its_image_and_counts_as_stopped_before() {
    let test = Script::new(settings());
    let absent = || Answer::status(5, "no such container");
    test.call(CONTAINERS, "Get", absent());
    assert_eq!(test.0.status(template()).unwrap().status, Status::Stopped);
    test.call(CONTAINERS, "Get", absent());
    assert_eq!(test.0.status("web").unwrap().status, Status::Missing);

    test.call(CONTAINERS, "Get", absent());
    image(&test);
    test.no_snapshot();
    test.ok(SNAPSHOTS, "Prepare").ok(CONTAINERS, "Create");
    started(&test);
    assert_eq!(hosts(&test.0.start(template()).unwrap()), ["10.0.0.2"]);

    let prepared = proto::Snapshot::decode(test.requests_of("/Prepare")[0].as_slice()).unwrap();
    assert_eq!(
        (prepared.key.as_str(), prepared.parent.as_str()),
        ("web", format!("sha256:{:064x}", 3).as_str())
    );
    assert!(prepared.labels.contains_key("containerd.io/gc.root"), "{prepared:?}");
    let ask =
        proto::OneContainer::decode(test.requests_of(".Containers/Create")[0].as_slice()).unwrap();
    let made = ask.container.unwrap();
    assert_eq!(made.labels["own"], "label");
    let spec: Value = serde_json::from_slice(&made.spec.unwrap().value).unwrap();
    assert_eq!(spec["process"]["args"], json!(["/server"]));
    let env = spec["process"]["env"].as_array().unwrap();
    assert!(env.contains(&json!("A=1")) && env.contains(&json!("B=3")), "{env:?}");
    assert!(!env.contains(&json!("B=2")), "{env:?}");
}

#[test]
fn a_container_that_another_client_created_is_started() {
    let test = Script::new(settings());
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    image(&test);
    test.no_snapshot();
    test.call(SNAPSHOTS, "Prepare", Answer::status(6, "already exists"));
    test.call(CONTAINERS, "Create", Answer::status(6, "already exists")).container(&web(&[]));
    started(&test);
    test.0.start(template()).unwrap();
}

#[test]
fn the_snapshot_of_an_earlier_container_is_reused() {
    let test = Script::new(settings());
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    image(&test);
    let info = proto::SnapshotInfo {
        name: "web".into(),
        kind: SnapshotKind::Active.into(),
        parent: format!("sha256:{:064x}", 3),
        labels: BTreeMap::new(),
    };
    test.call(SNAPSHOTS, "List", message(&proto::SnapshotInfos { infos: vec![info] }));
    test.ok(SNAPSHOTS, "Update").ok(CONTAINERS, "Create");
    started(&test);
    test.0.start(template()).unwrap();
    assert!(test.requests_of("/Prepare").is_empty());
}

#[test]
fn a_failed_creation_leaves_no_snapshot() {
    let test = Script::new(settings());
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    image(&test);
    test.no_snapshot();
    test.ok(SNAPSHOTS, "Prepare");
    test.call(CONTAINERS, "Create", Answer::status(3, "no such runtime")).ok(SNAPSHOTS, "Remove");
    let error = test.0.start(template()).unwrap_err();
    assert!(error.message().contains("no such runtime"), "{error}");
}
