mod create;
mod images;
mod recreate;
mod uses;

use drowse_provider_sdk::{
    ErrorCode, RemoveOptions, Status, StopOptions,
    testing::{Answer, Harness, Report, check_description},
};
use prost::Message as _;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::proto::{self, Container, SnapshotKind};

const CONTAINERS: &str = "/containerd.services.containers.v1.Containers/";
const TASKS: &str = "/containerd.services.tasks.v1.Tasks/";
const SNAPSHOTS: &str = "/containerd.services.snapshots.v1.Snapshots/";
const IMAGES: &str = "/containerd.services.images.v1.Images/";
const CONTENT: &str = "/containerd.services.content.v1.Content/";
const LEASES: &str = "/containerd.services.leases.v1.Leases/";
const EVENTS: &str = "/containerd.services.events.v1.Events/";

/// The calls expected of the provider, in order.
struct Script(Harness<Containerd>);

impl Script {
    fn new(settings: Value) -> Self {
        Self(Harness::with_settings(settings))
    }

    fn call(&self, service: &str, method: &str, answer: Answer) -> &Self {
        self.0.expect_call("containerd", &format!("{service}{method}"), answer);
        self
    }

    fn container(&self, container: &Container) -> &Self {
        let found = proto::OneContainer { container: Some(container.clone()), update_mask: None };
        self.call(CONTAINERS, "Get", message(&found))
    }

    fn task(&self, status: proto::Status) -> &Self {
        self.task_of(70, status)
    }

    /// A task with this pid.
    fn task_of(&self, pid: u32, status: proto::Status) -> &Self {
        let process = proto::Process {
            id: "web".into(),
            pid,
            status: status.into(),
            exit_status: if status == proto::Status::Stopped { 137 } else { 0 },
        };
        self.call(TASKS, "Get", message(&proto::OneTask { process: Some(process) }))
    }

    fn no_task(&self) -> &Self {
        self.call(TASKS, "Get", Answer::status(5, "no running task found"))
    }

    /// No snapshot of an earlier container.
    fn no_snapshot(&self) -> &Self {
        self.call(SNAPSHOTS, "List", message(&proto::SnapshotInfos::default()));
        self.call(SNAPSHOTS, "Stat", Answer::status(5, "no such snapshot"))
    }

    fn ok(&self, service: &str, method: &str) -> &Self {
        self.call(service, method, message(&proto::Empty {}))
    }

    /// A task is created and waits for its start.
    fn created(&self) -> &Self {
        let mount = proto::Mount { kind: "overlay".into(), ..proto::Mount::default() };
        self.call(SNAPSHOTS, "Mounts", message(&proto::Mounts { mounts: vec![mount] }));
        self.call(TASKS, "Create", message(&proto::CreatedTask { pid: 70 }))
    }

    /// A created task is rolled back.
    fn rolled_back(&self) -> &Self {
        self.task(proto::Status::Created).ok(TASKS, "Kill").ok(TASKS, "Wait");
        self.deleted()
    }

    /// A task that has ended is deleted.
    fn deleted(&self) -> &Self {
        self.0.expect_network("lan", "DEL default--web", Ok(Vec::new()));
        self.task(proto::Status::Stopped).ok(TASKS, "Delete")
    }

    fn requests_of(&self, method: &str) -> Vec<Vec<u8>> {
        let calls = self.0.calls();
        let calls = calls.iter().filter(|call| call.method.ends_with(method));
        calls.map(|call| call.message.clone()).collect()
    }
}

fn message(message: &impl prost::Message) -> Answer {
    Answer::message(message.encode_to_vec())
}

fn settings() -> Value {
    json!({ "network": "lan" })
}

/// A container with its own network namespace and these labels.
fn web(labels: &[(&str, &str)]) -> Container {
    let spec = json!({ "linux": { "namespaces": [{ "type": "pid" }, { "type": "network" }] } });
    Container {
        id: "web".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        image: "box:1".into(),
        runtime: None,
        spec: Some(proto::Any { type_url: String::new(), value: spec.to_string().into_bytes() }),
        snapshotter: "overlayfs".into(),
        snapshot_key: "web".into(),
        ..Container::default()
    }
}

fn hosts(observation: &Observation) -> Vec<&str> {
    observation.addresses.iter().map(|address| address.host.as_str()).collect()
}

#[test]
fn the_description_is_valid() {
    check_description::<Containerd>();
}

#[test]
fn namespaces_of_docker_and_kubernetes_are_refused_unless_foreign_is_set() {
    for namespace in ["moby", "k8s.io"] {
        let refused = Harness::<Containerd>::with_settings(json!({ "namespace": namespace }));
        let error = refused.configure().unwrap_err();
        assert!(error.message().contains("foreign = true"), "{error}");
        let settings = json!({ "namespace": namespace, "foreign": true });
        Harness::<Containerd>::with_settings(settings).configure().unwrap();
    }
}

#[test]
fn invalid_ids_and_settings_are_refused_before_any_call() {
    let test = Script::new(settings());
    let long = "x".repeat(77);
    for id in ["", "a/b", "-a", "a-", "a--b", "a b", "..", long.as_str()] {
        assert_eq!(*test.0.start(id).unwrap_err().code(), ErrorCode::InvalidRequest, "{id}");
    }
    for own in [
        json!({ "image": "a b" }),
        json!({ "command": [] }),
        json!({ "env": { "A=B": "" } }),
        json!({ "mounts": [{ "source": "data", "target": "/data" }] }),
        json!({ "log": "web.log" }),
    ] {
        let error = test.0.start(("web", own.clone())).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest, "{own}");
    }
}

#[test]
fn a_start_creates_the_task_then_its_network_then_its_process() {
    let test = Script::new(settings());
    test.container(&web(&[("drowse.address", "12 10.0.0.9")])).no_task().created();
    test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.9".into()]));
    test.ok(CONTAINERS, "Update").ok(TASKS, "Start");
    test.container(&web(&[("drowse.address", "70 10.0.0.9")])).task(proto::Status::Running);
    let seen = test.0.start("web").unwrap();
    assert_eq!((seen.status.clone(), hosts(&seen)), (Status::Running, vec!["10.0.0.9"]));
    let attachment = &test.0.attachments()[0];
    assert_eq!(attachment.namespace, "/proc/70/ns/net");
    assert_eq!(attachment.address.as_deref(), Some("10.0.0.9"), "the one it had");
    let update = proto::OneContainer::decode(test.requests_of("/Update")[0].as_slice()).unwrap();
    assert_eq!(update.update_mask.unwrap().paths, ["labels.drowse.address"]);
    assert_eq!(update.container.unwrap().labels["drowse.address"], "70 10.0.0.9");
    assert!(test.0.calls().iter().all(|call| {
        let own = &call.metadata[0];
        (own.name.as_str(), own.value.as_str()) == ("containerd-namespace", "default")
    }));
}

#[test]
fn a_task_is_rolled_back_after_two_network_failures() {
    let test = Script::new(settings());
    test.container(&web(&[("drowse.address", "12 10.0.0.9")])).no_task().created();
    for _ in 0..2 {
        let full = drowse_provider_sdk::Error::unavailable("no addresses are left");
        test.0.expect_network("lan", "ADD default--web", Err(full));
    }
    test.rolled_back();
    let error = test.0.start("web").unwrap_err();
    assert!(error.message().contains("no addresses are left"), "{error}");
    let requests_of = test.0.attachments();
    assert_eq!(
        (requests_of[0].address.as_deref(), &requests_of[1].address),
        (Some("10.0.0.9"), &None)
    );
    assert!(!test.0.elapsed().is_zero(), "a pause between the two");
}

#[test]
fn a_task_that_another_client_is_creating_is_continued() {
    let test = Script::new(settings());
    test.container(&web(&[])).no_task().ok(SNAPSHOTS, "Mounts");
    let on_its_way = "failed to start shim: mkdir /run/io.containerd/default/web: file exists";
    test.call(TASKS, "Create", Answer::status(2, on_its_way));
    test.call(TASKS, "Create", Answer::status(6, "task web: already exists"));
    test.task(proto::Status::Created);
    let attached = || test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.2".into()]));
    attached();
    test.ok(CONTAINERS, "Update");
    // Another client started it first.
    test.call(TASKS, "Start", Answer::status(2, "cannot start a running process"));
    test.task(proto::Status::Running).task(proto::Status::Running);
    attached();
    test.ok(CONTAINERS, "Update");
    test.container(&web(&[("drowse.address", "70 10.0.0.2")])).task(proto::Status::Running);
    let seen = test.0.start("web").unwrap();
    assert_eq!((seen.status.clone(), hosts(&seen)), (Status::Running, vec!["10.0.0.2"]));
}

#[test]
fn a_start_that_another_client_stops_is_a_conflict_and_affects_no_other_task() {
    let gone = || drowse_provider_sdk::Error::not_found("there is no network namespace");
    for (now, taken) in [(None, false), (Some(71), false), (Some(70), true)] {
        let test = Script::new(settings());
        test.container(&web(&[])).no_task().created();
        for _ in 0..2 {
            test.0.expect_network("lan", "ADD default--web", Err(gone()));
        }
        match now {
            Some(pid) => test.task_of(pid, proto::Status::Stopped),
            None => test.no_task(),
        };
        if taken {
            test.deleted();
        }
        let error = test.0.start("web").unwrap_err();
        assert_eq!(*error.code(), ErrorCode::Conflict, "{error}");
        assert_eq!(test.requests_of("/Kill"), [[0; 0]; 0]);
    }
}

#[test]
fn a_stop_followed_by_another_clients_start_is_a_conflict_and_affects_no_other_task() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running).ok(TASKS, "Kill").ok(TASKS, "Wait");
    test.task(proto::Status::Stopped);
    test.0.expect_network("lan", "DEL default--web", Ok(Vec::new()));
    test.task_of(71, proto::Status::Created);
    test.container(&web(&[])).task_of(71, proto::Status::Created);
    let error = test.0.stop("web", StopOptions::new(Duration::from_secs(5))).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict, "{error}");
    assert_eq!(test.0.attachments()[0].namespace, "/proc/70/ns/net", "that of its own process");

    // Stopped when it was queried, and started since.
    let test = Script::new(settings());
    let label = [("drowse.address", "70 10.0.0.2")];
    test.container(&web(&label)).no_task();
    test.0.expect_network("lan", "DEL default--web", Ok(Vec::new()));
    test.container(&web(&[("drowse.address", "71 10.0.0.3")])).task_of(71, proto::Status::Running);
    let error = test.0.stop("web", StopOptions::new(Duration::from_secs(5))).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict, "{error}");
    assert_eq!(test.0.attachments()[0].namespace, "/proc/70/ns/net", "that of its last process");
}

#[test]
fn a_signal_to_an_ended_task_succeeds() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running);
    test.call(TASKS, "Kill", Answer::status(2, "container does not exist: unknown"));
    test.task(proto::Status::Stopped).ok(TASKS, "Wait").no_task();
    test.0.expect_network("lan", "DEL default--web", Ok(Vec::new()));
    test.container(&web(&[])).no_task();
    let seen = test.0.stop("web", StopOptions::new(Duration::from_secs(5))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
}

#[test]
fn a_start_without_an_address_fails() {
    let test = Script::new(settings());
    test.container(&web(&[])).no_task().created();
    test.0.expect_network("lan", "ADD default--web", Ok(Vec::new()));
    test.rolled_back();
    let error = test.0.start("web").unwrap_err();
    assert!(error.message().contains("no address"), "{error}");
}

#[test]
fn an_unfinished_start_is_continued() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Created);
    test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.2".into()]));
    test.ok(CONTAINERS, "Update").ok(TASKS, "Start");
    test.container(&web(&[("drowse.address", "70 10.0.0.2")])).task(proto::Status::Running);
    assert_eq!(test.0.start("web").unwrap().status, Status::Running);
}

#[test]
fn leftovers_of_a_cancelled_creation_are_waited_for() {
    let test = Script::new(settings());
    let mount = proto::Mount::default();
    test.container(&web(&[])).no_task();
    test.call(SNAPSHOTS, "Mounts", message(&proto::Mounts { mounts: vec![mount] }));
    test.call(TASKS, "Create", Answer::status(2, "mkdir …/web: file exists: unknown"));
    let ending =
        "failed to start shim: start failed: dial unix /run/…: connect: connection refused";
    test.call(TASKS, "Create", Answer::status(2, ending));
    test.call(TASKS, "Create", message(&proto::CreatedTask { pid: 70 }));
    test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.2".into()]));
    test.ok(CONTAINERS, "Update").ok(TASKS, "Start");
    test.container(&web(&[("drowse.address", "70 10.0.0.2")])).task(proto::Status::Running);
    assert_eq!(test.0.start("web").unwrap().status, Status::Running);
    assert_eq!(test.0.elapsed(), Duration::from_millis(200));
}

#[test]
fn a_stale_address_is_ignored_and_recovered_from_the_network() {
    let test = Script::new(settings());
    test.container(&web(&[("drowse.address", "12 10.0.0.9")])).task(proto::Status::Running);
    let unknown = drowse_provider_sdk::Error::not_found("not attached");
    test.0.expect_network("lan", "CHECK default--web", Err(unknown));
    assert_eq!(hosts(&test.0.status("web").unwrap()), [""; 0]);

    test.container(&web(&[])).task(proto::Status::Running);
    test.0.expect_network("lan", "CHECK default--web", Ok(Vec::new()));
    test.0.expect_network("lan", "ADD default--web", Ok(vec!["10.0.0.3".into()]));
    test.ok(CONTAINERS, "Update").container(&web(&[("drowse.address", "70 10.0.0.3")]));
    assert_eq!(hosts(&test.0.status("web").unwrap()), ["10.0.0.3"]);
}

#[test]
fn host_network_containers_have_the_host_address_and_hooks_are_refused() {
    let test = Script::new(json!({}));
    let spec = |spec: Value| {
        let value = spec.to_string().into_bytes();
        Container { spec: Some(proto::Any { type_url: String::new(), value }), ..web(&[]) }
    };
    test.container(&spec(json!({ "linux": { "namespaces": [] } }))).task(proto::Status::Running);
    assert_eq!(hosts(&test.0.status("web").unwrap()), ["127.0.0.1"]);
    let own = json!({ "namespaces": [{ "type": "network" }] });
    let hooks = json!({ "createRuntime": [{ "path": "/usr/bin/nerdctl" }] });
    test.container(&spec(json!({ "linux": own, "hooks": hooks })));
    assert_eq!(*test.0.start("web").unwrap_err().code(), ErrorCode::Unsupported);
    test.container(&web(&[]));
    let error = test.0.start("web").unwrap_err();
    assert!(error.message().contains("set `network`"), "{error}");
}

#[test]
fn a_stop_signals_waits_kills_and_releases_the_address() {
    let test = Script::new(settings());
    let late = || Answer::error(drowse_provider_sdk::Error::timeout("no answer"));
    test.container(&web(&[("io.containerd.image.config.stop-signal", "SIGQUIT")]));
    test.task(proto::Status::Running).ok(TASKS, "Kill");
    test.call(TASKS, "Wait", late());
    test.call(TASKS, "Wait", Answer::status(2, "context deadline exceeded: unknown"));
    // The grace time ends by the harness's clock, which does not advance during a call.
    test.call(TASKS, "Wait", message(&proto::Empty {}));
    test.task(proto::Status::Stopped).deleted().container(&web(&[])).no_task();
    let seen = test.0.stop("web", StopOptions::new(Duration::from_secs(5))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    let kill = proto::Kill::decode(test.requests_of("/Kill")[0].as_slice()).unwrap();
    assert_eq!((kill.signal, kill.all), (3, false), "the image's own signal");
}

#[test]
fn a_task_that_another_client_deletes_is_stopped() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Stopped).task(proto::Status::Stopped);
    test.0.expect_network("lan", "DEL default--web", Ok(Vec::new()));
    test.task(proto::Status::Stopped);
    test.call(TASKS, "Delete", Answer::status(2, "failed to delete task: ttrpc: closed"));
    test.container(&web(&[])).no_task();
    let seen = test.0.stop("web", StopOptions::new(Duration::from_secs(5))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
}

#[test]
fn a_task_that_outlives_its_grace_time_is_killed() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running).ok(TASKS, "Kill");
    test.task(proto::Status::Running);
    test.task(proto::Status::Running).ok(TASKS, "Kill").ok(TASKS, "Wait").deleted();
    test.container(&web(&[])).no_task();
    test.0.stop("web", StopOptions::new(Duration::ZERO)).unwrap();
    let signals: Vec<u32> = test
        .requests_of("/Kill")
        .iter()
        .map(|kill| proto::Kill::decode(kill.as_slice()).unwrap().signal)
        .collect();
    assert_eq!(signals, [15, 9]);
}

#[test]
fn a_failed_detach_does_not_stop_the_removal() {
    let test = Script::new(settings());
    test.container(&web(&[])).container(&web(&[]));
    test.task(proto::Status::Stopped).task(proto::Status::Stopped);
    let broken = drowse_provider_sdk::Error::unavailable("no plugin");
    test.0.expect_network("lan", "DEL default--web", Err(broken.clone()));
    test.task(proto::Status::Stopped);
    test.call(TASKS, "Delete", Answer::status(2, "shim is gone")).task(proto::Status::Stopped);
    test.0.expect_network("lan", "DEL default--web", Err(broken));
    test.ok(CONTAINERS, "Delete").ok(SNAPSHOTS, "Remove").ok(SNAPSHOTS, "List");
    let options = RemoveOptions { preserve_data: false, attributes: Vec::new() };
    let error = test.0.remove("web", options).unwrap_err();
    assert!(error.message().contains("shim is gone"), "{error}");
}

#[test]
fn a_removal_that_cannot_preserve_data_removes_nothing() {
    let test = Script::new(settings());
    test.container(&web(&[]));
    test.call(SNAPSHOTS, "Update", Answer::status(14, "read-only file system"));
    let options = RemoveOptions { preserve_data: true, attributes: Vec::new() };
    let error = test.0.remove("web", options).unwrap_err();
    assert!(error.message().contains("preserve its data"), "{error}");
}

#[test]
fn pause_and_resume_succeed_by_the_resulting_state() {
    let test = Script::new(settings());
    let unclear = || Answer::status(2, "cannot pause");
    test.container(&web(&[])).call(TASKS, "Pause", unclear()).task(proto::Status::Paused);
    test.container(&web(&[])).task(proto::Status::Paused);
    assert_eq!(test.0.pause("web").unwrap().status, Status::Paused);
    test.container(&web(&[])).call(TASKS, "Pause", unclear()).task(proto::Status::Stopped);
    assert_eq!(*test.0.pause("web").unwrap_err().code(), ErrorCode::Conflict);
}

#[test]
fn a_page_lists_containers_with_and_without_a_task() {
    let test = Script::new(settings());
    let other = Container { id: "db".into(), ..web(&[]) };
    let containers = vec![web(&[("drowse.address", "70 10.0.0.2")]), other];
    test.call(CONTAINERS, "List", message(&proto::Containers { containers }));
    let running = proto::Status::Running.into();
    let task = proto::Process { id: "web".into(), pid: 70, status: running, exit_status: 0 };
    test.call(TASKS, "List", message(&proto::Tasks { tasks: vec![task] }));
    let page = test.0.list(None).unwrap();
    let listed: Vec<_> =
        page.observations.iter().map(|it| (it.handle.as_str(), it.status.clone())).collect();
    assert_eq!(listed, [("db", Status::Stopped), ("web", Status::Running)]);
    assert_eq!((hosts(&page.observations[1]), page.next), (vec!["10.0.0.2"], None));
}

fn envelope(topic: &str, value: &impl prost::Message) -> Vec<u8> {
    let event = proto::Any { type_url: String::new(), value: value.encode_to_vec() };
    let timestamp = Some(proto::Timestamp { seconds: 1, nanos: 5 });
    proto::Envelope { timestamp, topic: topic.into(), event: Some(event) }.encode_to_vec()
}

#[test]
fn a_watch_is_synced_by_its_marker_and_reports_no_exec_ends() {
    let test = Script::new(settings());
    // The harness's clock does not advance, so the marker is known.
    let mark = Duration::from_secs(1_767_225_600).as_nanos().to_string();
    let ours = envelope("/drowse/watch", &proto::ById { id: mark });
    let others = envelope("/drowse/watch", &proto::ById { id: "7".into() });
    let exit = |id: &str| {
        let exit = proto::TaskExit { container_id: "web".into(), id: id.into() };
        envelope("/tasks/exit", &exit)
    };
    let answer = Answer::error(drowse_provider_sdk::Error::timeout("no message"))
        .then(others)
        .then(ours)
        .then(exit("exec-1"))
        .then(exit("web"))
        .then(envelope("/containers/delete", &proto::ById { id: "db".into() }))
        .stays_open();
    test.call(EVENTS, "Subscribe", answer).ok(EVENTS, "Publish").ok(EVENTS, "Publish");
    test.container(&web(&[])).task(proto::Status::Stopped);
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    let watched = test.0.watch();
    assert!(watched.error.is_none(), "{:?}", watched.error);
    assert_eq!(watched.reports[0], Report::Synced);
    let seen = watched.observations();
    assert_eq!((seen[0].handle.as_str(), &seen[0].status), ("web", &Status::Stopped));
    assert_eq!(seen[0].attribute("exit-status"), Some("137"));
    assert_eq!((seen[1].handle.as_str(), &seen[1].status), ("db", &Status::Missing));
    assert_eq!(watched.reports.len(), 3);
}

#[test]
fn a_container_that_cannot_be_inspected_does_not_delay_others() {
    let test = Script::new(settings());
    let mark = Duration::from_secs(1_767_225_600).as_nanos().to_string();
    let start = |id: &str| envelope("/tasks/start", &proto::ById { id: id.into() });
    let answer = Answer::message(envelope("/drowse/watch", &proto::ById { id: mark }))
        .then(start("stuck"))
        .then(start("web"))
        .stays_open();
    test.call(EVENTS, "Subscribe", answer).ok(EVENTS, "Publish");
    test.container(&web(&[]));
    test.call(TASKS, "Get", Answer::error(drowse_provider_sdk::Error::timeout("no answer")));
    test.container(&web(&[])).task(proto::Status::Running);
    let watched = test.0.watch();
    assert!(watched.error.is_none(), "{:?}", watched.error);
    assert_eq!(watched.observations()[0].status, Status::Running);
    let synced = watched.reports.iter().filter(|it| **it == Report::Synced).count();
    assert_eq!(synced, 2, "each container is inspected with a call of its own");
    let mut looks = test.0.calls().into_iter().filter(|call| call.method.ends_with("/Get"));
    assert!(looks.all(|call| call.timeout_ms == Some(2_000)));
}

proptest::proptest! {
    #[test]
    fn any_message_is_decoded_or_refused(bytes: Vec<u8>) {
        let _ = crate::daemon::read::<Container>("x", &bytes).map(|it| {
            crate::observe::seen(&it, None);
            crate::spec::network_mode(&it)
        });
        let _ = crate::daemon::read::<proto::Envelope>("x", &bytes);
    }
}
