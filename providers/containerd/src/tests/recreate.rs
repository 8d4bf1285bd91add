//! Recreations and their rollback.

use drowse_provider_sdk::RecreateOptions;

use super::{
    create::{image, template},
    *,
};

const DIFF: &str = "/containerd.services.diff.v1.Diff/";

fn options() -> RecreateOptions {
    RecreateOptions {
        refresh: false,
        stop: StopOptions::new(Duration::from_secs(5)),
        attributes: Vec::new(),
    }
}

impl Script {
    /// The container runs, its image is local, and it is stopped.
    fn stopped_for_another(&self, old: &Container) -> &Self {
        self.container(old).held();
        image(self);
        self.task(proto::Status::Running);
        self.container(old).task(proto::Status::Running).ok(TASKS, "Kill").ok(TASKS, "Wait");
        self.task(proto::Status::Stopped).deleted()
    }

    /// The current image is held by a lease.
    fn held(&self) -> &Self {
        self.named(1).ok(LEASES, "Create");
        self.call(CONTENT, "Write", Answer::status(6, "content sha256:…: already exists"))
    }

    /// The image name refers to the manifest of this number.
    fn named(&self, number: u8) -> &Self {
        let digest = format!("sha256:{number:064x}");
        let target = Some(proto::Descriptor { digest, ..proto::Descriptor::default() });
        let image = Some(proto::Image { name: "box:1".into(), target });
        self.call(IMAGES, "Get", message(&proto::OneImage { image, update_mask: None }))
    }

    /// The recreation failed, and the name still refers to the same image.
    fn name_is_right(&self) {
        self.named(1).ok(LEASES, "Delete");
    }

    /// The container's files are on top of the image of this number.
    fn files_on(&self, number: u8) -> &Self {
        let info = proto::SnapshotInfo {
            name: "web".into(),
            kind: SnapshotKind::Active.into(),
            parent: format!("sha256:{number:064x}"),
            labels: BTreeMap::new(),
        };
        self.call(SNAPSHOTS, "Stat", message(&proto::OneSnapshot { info: Some(info) }))
    }

    fn begun_again(&self, old: &Container) {
        self.container(old).no_task().created();
        self.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.2".into()]));
        self.ok(CONTAINERS, "Update").ok(TASKS, "Start");
    }
}

#[test]
fn a_failed_data_transfer_is_rolled_back() {
    let test = Script::new(settings());
    let old = web(&[]);
    test.stopped_for_another(&old).files_on(9);
    test.ok(LEASES, "Create").ok(SNAPSHOTS, "Remove").ok(SNAPSHOTS, "Remove");
    test.ok(SNAPSHOTS, "View").ok(SNAPSHOTS, "Mounts");
    test.call(DIFF, "Diff", Answer::status(2, "no space left on device"));
    test.ok(SNAPSHOTS, "Remove").ok(SNAPSHOTS, "Remove").ok(LEASES, "Delete");
    test.begun_again(&old);
    test.name_is_right();
    let error = test.0.recreate(template(), options()).unwrap_err();
    assert!(error.message().contains("no space left"), "{error}");
    assert!(!error.message().contains("could not be restored"), "{error}");
    assert!(test.requests_of("Containers/Delete").is_empty());
    let removed: Vec<_> = test
        .requests_of("Snapshots/Remove")
        .iter()
        .map(|ask| proto::Snapshot::decode(ask.as_slice()).unwrap().key)
        .collect();
    assert!(removed.iter().all(|key| key.starts_with("web@")), "never its own: {removed:?}");
}

#[test]
fn a_failed_creation_restores_the_old_container() {
    let test = Script::new(settings());
    let extension = proto::Any { type_url: "third-party".into(), value: vec![1] };
    let old = Container {
        extensions: [("own".to_owned(), extension)].into(),
        runtime: Some(proto::Runtime {
            name: "runsc".into(),
            options: Some(proto::Any::default()),
        }),
        ..web(&[("of", "another")])
    };
    test.stopped_for_another(&old).files_on(3).ok(SNAPSHOTS, "Update").ok(SNAPSHOTS, "Update");
    test.ok(CONTAINERS, "Delete");
    test.call(CONTAINERS, "Create", Answer::status(3, "no such runtime"));
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    test.ok(CONTAINERS, "Delete").ok(CONTAINERS, "Create");
    test.begun_again(&old);
    // A newer image was pulled for it.
    test.named(7).call(IMAGES, "Create", Answer::status(6, "already exists"));
    test.ok(IMAGES, "Update").ok(LEASES, "Delete");
    let error = test.0.recreate(template(), options()).unwrap_err();
    assert!(error.message().contains("no such runtime"), "{error}");
    let created = test.requests_of("Containers/Create");
    let put_back = proto::OneContainer::decode(created[1].as_slice()).unwrap();
    assert_eq!(put_back.container.unwrap(), old);
    let named = proto::OneImage::decode(test.requests_of("Images/Update")[0].as_slice()).unwrap();
    let named = named.image.unwrap();
    let target = (named.name.as_str(), named.target.unwrap().digest);
    assert_eq!(target, ("box:1", format!("sha256:{:064x}", 1)), "as before");
}

#[test]
fn a_failed_rollback_is_reported_with_the_first_error() {
    let test = Script::new(settings());
    let old = web(&[]);
    test.stopped_for_another(&old).files_on(3).ok(SNAPSHOTS, "Update").ok(SNAPSHOTS, "Update");
    test.call(CONTAINERS, "Delete", Answer::status(14, "it is going down"));
    test.call(CONTAINERS, "Get", Answer::status(14, "it is gone"));
    test.call(IMAGES, "Get", Answer::status(14, "it is gone for long")).ok(LEASES, "Delete");
    let error = test.0.recreate(template(), options()).unwrap_err();
    assert!(error.message().contains("going down"), "{error}");
    assert!(error.message().contains("could not be restored"), "{error}");
    assert!(error.message().contains("it is gone;"), "{error}");
    assert!(error.message().contains("it is gone for long"), "{error}");
}

#[test]
fn a_recreation_that_cannot_succeed_changes_nothing() {
    let test = Script::new(settings());
    test.container(&web(&[]));
    let error = test.0.recreate("web", options()).unwrap_err();
    assert!(error.message().contains("set `image`"), "{error}");

    let test = Script::new(json!({}));
    test.container(&web(&[])).held();
    image(&test);
    test.name_is_right();
    let error = test.0.recreate(template(), options()).unwrap_err();
    assert!(error.message().contains("set `network`"), "{error}");
}

#[test]
fn a_cancelled_recreation_is_continued_with_its_data() {
    let test = Script::new(settings());
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    image(&test);
    let info = |name: &str, parent: u8| proto::SnapshotInfo {
        name: name.into(),
        kind: SnapshotKind::Active.into(),
        parent: format!("sha256:{parent:064x}"),
        labels: BTreeMap::new(),
    };
    // The files of the old and the new container, on top of the image.
    let infos = vec![info("web", 9), info("web@0000000000000000", 3)];
    test.call(SNAPSHOTS, "List", message(&proto::SnapshotInfos { infos }));
    test.ok(SNAPSHOTS, "Update").ok(CONTAINERS, "Create");
    // The old files contain nothing that the new ones lack.
    test.ok(SNAPSHOTS, "Update").ok(SNAPSHOTS, "Remove");
    test.container(&web(&[])).no_task();
    assert_eq!(test.0.recreate(template(), options()).unwrap().status, Status::Stopped);
    let created = test.requests_of("Containers/Create");
    let made = proto::OneContainer::decode(created[0].as_slice()).unwrap().container.unwrap();
    assert_eq!(made.snapshot_key, "web@0000000000000000");
}
