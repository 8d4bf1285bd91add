use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Observation, RecreateOptions, Result, Status, StopOptions,
};

use super::*;
use crate::recreate::RECREATED_FROM;

const FULL: &str = include_str!("../../fixtures/recreate/full.json");
const IMAGE: &str = include_str!("../../fixtures/recreate/image.json");

/// Id of the recorded container `full`.
const OLD: &str = "7347afeed28c7b28e48f94d1f185346c9b56338208f9cbe2affc00107b8a9d3a";
const NEW: &str = "1111111111111111111111111111111111111111111111111111111111111111";

const IMAGE_BY_NAME: &str = "GET /v1.41/images/rich%3A1/json";
const CREATE: &str = "POST /v1.41/containers/create?name=full";
const JOIN: &str = "POST /v1.41/networks/back/connect";
const START: &str = "POST /v1.41/containers/full/start";

/// A provider with a scripted engine.
struct Play(Harness<Docker>);

impl Play {
    fn new() -> Self {
        Self(docker())
    }

    fn then(&self, endpoint: &str, request: &str, reply: Reply) -> &Self {
        self.0.expect(
            endpoint,
            &request.replace(" /", " /v1.41/").replace("/v1.41/v1.41", "/v1.41"),
            reply,
        );
        self
    }

    fn recreate(&self) -> Result<Observation> {
        self.0.recreate("full", options(false))
    }

    fn error(&self) -> Error {
        self.recreate().unwrap_err()
    }

    /// The containers under the name and its suffixes.
    fn found(&self, current: Option<Value>, ran: Option<Value>, old: Option<Value>) -> &Self {
        for (name, found) in [("full", current), ("full.drowse-ran", ran), ("full.drowse-old", old)]
        {
            let some = found.is_some();
            self.then("engine", &inspect(name), found.map_or_else(missing, Reply::json));
            if some && name == "full.drowse-ran" {
                break;
            }
        }
        self
    }

    fn prepared(&self) -> &Self {
        self.then("recreate", IMAGE_BY_NAME, recorded(IMAGE));
        self.then("recreate", &by_id(), recorded(IMAGE))
    }

    fn stopped(&self) -> &Self {
        self.then("engine", "POST /containers/full/stop?t=5", Reply::status(204));
        self.then("engine", &inspect("full"), Reply::json(full("exited", OLD)))
    }

    fn renamed(&self, to: &str) -> &Self {
        self.then("recreate", &rename(to), Reply::status(204))
    }

    fn expect_create(&self) -> &Self {
        self.then("recreate", CREATE, Reply::json(json!({ "Id": NEW })));
        self.then("recreate", JOIN, Reply::status(200))
    }

    fn started(&self, id: &str) -> &Self {
        self.then("engine", START, Reply::status(204));
        self.then("engine", &inspect("full"), Reply::json(full("running", id)))
    }

    fn expect_running(&self) -> &Self {
        self.then("engine", &inspect("full"), Reply::json(full("running", NEW)));
        self.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])))
    }

    fn removed(&self, id: &str, with_volumes: bool) -> &Self {
        let v = if with_volumes { "&v=1" } else { "" };
        let request = format!("DELETE /containers/{id}?force=1{v}");
        self.then("recreate", &request, Reply::status(204))
    }

    /// Removes the new container, renames the old one back and starts it.
    fn expect_rollback(&self, new: bool) -> &Self {
        if new {
            self.removed(NEW, true);
        }
        self.then("engine", &inspect("full"), missing());
        self.renamed("full");
        self.started(OLD)
    }

    /// The body of the create request.
    fn created(&self) -> Value {
        let requests = self.0.requests();
        let create =
            requests.iter().find(|request| request.path.contains("/create?name=")).unwrap();
        serde_json::from_slice(&create.body).unwrap()
    }
}

fn options(refresh: bool) -> RecreateOptions {
    let stop = StopOptions::new(Duration::from_secs(5));
    RecreateOptions { refresh, stop, attributes: Vec::new() }
}

fn full(status: &str, id: &str) -> Value {
    let mut full: Value = serde_json::from_str(FULL).unwrap();
    full["State"]["Status"] = json!(status);
    full["Id"] = json!(id);
    full
}

/// The old container, set aside.
fn aside(name: &str) -> Value {
    let mut aside = full("exited", OLD);
    aside["Name"] = json!(format!("/{name}"));
    aside
}

/// The new container.
fn successor(status: &str) -> Value {
    let mut new = full(status, NEW);
    new["Config"]["Labels"][RECREATED_FROM] = json!(OLD);
    new
}

fn inspect(name: &str) -> String {
    format!("GET /containers/{name}/json")
}

fn by_id() -> String {
    let image: Value = serde_json::from_str(IMAGE).unwrap();
    format!("GET /images/{}/json", image["Id"].as_str().unwrap().replace(':', "%3A"))
}

fn rename(to: &str) -> String {
    format!("POST /containers/{OLD}/rename?name={to}")
}

// === success ===

#[test]
fn the_old_container_is_removed_only_when_the_new_one_runs() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran")
        .expect_create()
        .started(NEW)
        .expect_running()
        .removed(OLD, false);
    let seen = play.recreate().unwrap();
    assert_eq!((seen.status, seen.native_id.as_deref()), (Status::Running, Some(NEW)));
    assert_eq!(play.0.elapsed(), Duration::from_secs(1), "it was looked at twice");
    let body = play.created();
    assert_eq!(body["Labels"][RECREATED_FROM], OLD);
    assert_eq!(body["Labels"]["mine"], "yes");
    let joined = play.0.requests().into_iter().find(|it| it.path.ends_with("/connect")).unwrap();
    let joined: Value = serde_json::from_slice(&joined.body).unwrap();
    assert_eq!(
        (&joined["Container"], &joined["EndpointConfig"]["Aliases"][0]),
        (&json!(NEW), &json!("full-back"))
    );
    assert_eq!(play.0.memo("recreate full"), None);
}

#[test]
fn a_stopped_container_stays_stopped() {
    for state in ["exited", "created", "paused"] {
        let play = Play::new();
        play.found(Some(full(state, OLD)), None, None).prepared().stopped();
        play.renamed("full.drowse-old").expect_create();
        play.then("engine", &inspect("full"), Reply::json(full("created", NEW)));
        play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])));
        play.removed(OLD, false);
        assert_eq!(play.recreate().unwrap().status, Status::Stopped);
    }
}

#[test]
fn a_container_that_exits_with_0_counts_as_running() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran").expect_create().started(NEW);
    let mut done = full("exited", NEW);
    done["State"]["ExitCode"] = json!(0);
    play.then("engine", &inspect("full"), Reply::json(done));
    play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])));
    play.removed(OLD, false);
    assert_eq!(play.recreate().unwrap().status, Status::Stopped);
}

#[test]
fn dependent_containers_are_named() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran").expect_create().started(NEW);
    play.then("engine", &inspect("full"), Reply::json(full("running", NEW)));
    let item = |name: &str, mode: String| json!({ "Id": name, "Names": [format!("/{name}")], "HostConfig": { "NetworkMode": mode } });
    let old = json!({ "Id": OLD, "Names": ["/l/alias", "/full.drowse-ran", "/l/full.drowse-ran"] });
    let list = json!([item("a", format!("container:{OLD}")), item("b", "default".to_owned()), old]);
    play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(list));
    play.removed(OLD, false);
    assert_eq!(play.recreate().unwrap().attribute("dependants"), Some("a, l"));
    let logs = play.0.logs();
    assert!(logs.iter().any(|line| line.message.ends_with("recreate them, too")), "{logs:?}");
}

#[test]
fn a_namespace_owner_is_referenced_by_name() {
    let play = Play::new();
    let mut sidecar = full("exited", OLD);
    sidecar["HostConfig"]["NetworkMode"] = json!(format!("container:{WEB_ID}"));
    play.found(Some(sidecar), None, None).prepared();
    play.then("engine", &inspect(WEB_ID), recorded(RUNNING)).stopped();
    play.renamed("full.drowse-old");
    play.then("recreate", CREATE, Reply::json(json!({ "Id": NEW })));
    play.then("engine", &inspect("full"), Reply::json(full("created", NEW)));
    play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])));
    play.removed(OLD, false);
    play.recreate().unwrap();
    assert_eq!(play.created()["HostConfig"]["NetworkMode"], "container:web");
}

#[test]
fn a_recreated_namespace_owner_is_found_by_its_label() {
    for successor in [json!([{ "Id": NEW, "Names": ["/web"] }]), json!([])] {
        let play = Play::new();
        let mut sidecar = full("exited", OLD);
        sidecar["HostConfig"]["NetworkMode"] = json!(format!("container:{WEB_ID}"));
        play.found(Some(sidecar), None, None).prepared();
        play.then("engine", &inspect(WEB_ID), missing());
        let filters = format!("%7B%22label%22%3A%5B%22{RECREATED_FROM}%3D{WEB_ID}%22%5D%7D");
        let list = format!("GET /containers/json?all=1&limit=1&filters={filters}");
        let found = successor != json!([]);
        play.then("engine", &list, Reply::json(successor));
        if !found {
            let error = play.error();
            assert!(error.message().ends_with("which is gone; recreate it manually"), "{error}");
            continue;
        }
        play.stopped().renamed("full.drowse-old");
        play.then("recreate", CREATE, Reply::json(json!({ "Id": NEW })));
        play.then("engine", &inspect("full"), Reply::json(full("created", NEW)));
        play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])));
        play.removed(OLD, false);
        play.recreate().unwrap();
        assert_eq!(play.created()["HostConfig"]["NetworkMode"], "container:web");
    }
}

// === refused before any change ===

#[test]
fn a_missing_container_is_not_found() {
    let play = Play::new();
    play.found(None, None, None);
    assert_eq!(*play.error().code(), ErrorCode::NotFound);
}

#[test]
fn without_an_image_nothing_is_stopped() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None);
    play.then("recreate", IMAGE_BY_NAME, missing());
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert_eq!(
        error.message(),
        "recreate container \"full\": the engine has no image \"rich:1\"; recreate it with a refresh"
    );
    // The container's own image shows which settings came with it.
    play.found(Some(full("running", OLD)), None, None);
    play.then("recreate", IMAGE_BY_NAME, recorded(IMAGE));
    play.then("recreate", &by_id(), missing());
    let error = play.error();
    assert!(error.message().ends_with("recreate the container manually"), "{error}");
}

#[test]
fn a_container_that_the_engine_removes_itself_is_refused() {
    let play = Play::new();
    let mut gone = full("running", OLD);
    gone["HostConfig"]["AutoRemove"] = json!(true);
    play.found(Some(gone), None, None);
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("`--rm`"), "{error}");
    let mut task = full("running", OLD);
    task["Config"]["Labels"]["com.docker.swarm.task.id"] = json!("x");
    play.found(Some(task), None, None);
    assert!(play.error().message().ends_with("update the service"));
}

#[test]
fn without_the_grant_nothing_is_stopped_and_the_error_names_the_line_to_add() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None);
    let denied = "endpoint \"recreate\" is not granted: add to [provider.docker]: \
                  endpoint.recreate = { url = \"unix:///var/run/docker.sock\" }";
    play.then("recreate", IMAGE_BY_NAME, Reply::error(Error::denied(denied)));
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert_eq!(error.message(), format!("recreate container \"full\": {denied}"));
}

// === failure and rollback ===

#[test]
fn a_failed_creation_is_rolled_back() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran");
    play.then("recreate", CREATE, refused(400, "invalid mount config"));
    play.expect_rollback(false);
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().ends_with("invalid mount config"), "{error}");
    assert_eq!(play.0.memo("recreate full"), None);
}

#[test]
fn a_failed_network_join_is_rolled_back() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran");
    play.then("recreate", CREATE, Reply::json(json!({ "Id": NEW })));
    play.then("recreate", JOIN, refused(404, "network back not found"));
    play.expect_rollback(true);
    assert!(play.error().message().ends_with("network back not found"));
}

#[test]
fn a_failed_start_is_rolled_back() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran").expect_create();
    play.then("engine", START, refused(500, "port is already allocated"));
    play.then("engine", &inspect("full"), Reply::json(full("created", NEW)));
    play.expect_rollback(true);
    assert!(play.error().message().ends_with("port is already allocated"));

    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran").expect_create().started(NEW);
    let mut dead = full("exited", NEW);
    dead["State"]["ExitCode"] = json!(1);
    play.then("engine", &inspect("full"), Reply::json(dead.clone()));
    play.then("engine", &inspect("full"), Reply::json(dead));
    let written = super::logs::frame(2, "no such option\n");
    let logs = format!("GET /containers/{NEW}/logs?stdout=1&stderr=1&tail=5");
    play.then("engine", &logs, Reply::status(200).body(written));
    play.expect_rollback(true);
    assert_eq!(
        play.error().message(),
        "recreate container \"full\": the new container does not run: exited with status 1; \
         output: no such option; the old one is restored"
    );
}

#[test]
fn a_container_that_cannot_be_stopped_or_renamed_keeps_running() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared();
    play.then("engine", "POST /containers/full/stop?t=5", refused(500, "cannot kill"));
    play.then("engine", &inspect("full"), Reply::json(full("running", OLD)));
    play.then("engine", &inspect("full"), Reply::json(full("running", OLD))).started(OLD);
    assert!(play.error().message().ends_with("cannot kill"));

    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.then("recreate", &rename("full.drowse-ran"), refused(409, "name taken"));
    play.then("engine", &inspect("full"), Reply::json(full("exited", OLD))).started(OLD);
    assert!(play.error().message().ends_with("name taken"));
}

#[test]
fn a_failed_rollback_is_reported_with_what_to_do() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran");
    play.then("recreate", CREATE, Reply::error(Error::internal("the connection broke")));
    play.then("engine", &inspect("full"), Reply::error(Error::unavailable("connection refused")));
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "recreate container \"full\": the connection broke; and the old container could not be \
         restored: connection refused; recreate it once more"
    );
}

// === repeated calls ===

#[test]
fn a_container_stopped_by_an_earlier_call_is_started_again() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared();
    // The engine becomes unreachable meanwhile.
    let gone = || Reply::error(Error::unavailable("connection refused"));
    play.then("engine", "POST /containers/full/stop?t=5", gone());
    play.then("engine", &inspect("full"), gone());
    assert_eq!(*play.error().code(), ErrorCode::Unavailable);

    play.found(Some(full("exited", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran")
        .expect_create()
        .started(NEW)
        .expect_running()
        .removed(OLD, false);
    assert_eq!(play.recreate().unwrap().status, Status::Running);
}

#[test]
fn an_unfinished_recreation_is_continued() {
    let play = Play::new();
    play.found(None, Some(aside("full.drowse-ran")), None).prepared();
    play.expect_create().started(NEW).expect_running().removed(OLD, false);
    assert_eq!(play.recreate().unwrap().status, Status::Running);

    let play = Play::new();
    play.found(None, None, Some(aside("full.drowse-old"))).prepared().expect_create();
    play.then("engine", &inspect("full"), Reply::json(full("created", NEW)));
    play.then("engine", "GET /containers/json?all=1&limit=100", Reply::json(json!([])));
    play.removed(OLD, false);
    assert_eq!(play.recreate().unwrap().status, Status::Stopped);
}

#[test]
fn an_unfinished_recreation_that_cannot_continue_is_rolled_back() {
    let play = Play::new();
    play.found(None, Some(aside("full.drowse-ran")), None);
    play.then("recreate", IMAGE_BY_NAME, missing());
    play.expect_rollback(false);
    assert!(play.error().message().contains("no image"));
}

#[test]
fn a_running_new_container_is_kept_and_a_stopped_one_replaced() {
    let play = Play::new();
    play.found(Some(successor("running")), Some(aside("full.drowse-ran")), None);
    play.removed(OLD, false);
    play.then("engine", &inspect("full"), Reply::json(successor("running")));
    assert_eq!(play.recreate().unwrap().native_id.as_deref(), Some(NEW));

    let play = Play::new();
    play.found(Some(successor("created")), Some(aside("full.drowse-ran")), None);
    play.removed(NEW, true).prepared();
    play.expect_create().started(NEW).expect_running().removed(OLD, false);
    assert_eq!(play.recreate().unwrap().status, Status::Running);
}

#[test]
fn an_unrelated_container_of_the_name_is_never_removed() {
    let play = Play::new();
    play.found(Some(full("exited", NEW)), Some(aside("full.drowse-ran")), None);
    let error = play.error();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().contains("\"full.drowse-ran\""), "{error}");
}

#[test]
fn an_old_container_that_cannot_be_removed_is_reported() {
    let play = Play::new();
    play.found(Some(full("running", OLD)), None, None).prepared().stopped();
    play.renamed("full.drowse-ran").expect_create().started(NEW).expect_running();
    let delete = format!("DELETE /containers/{OLD}?force=1");
    play.then("recreate", &delete, refused(500, "device busy"));
    let error = play.error();
    assert!(
        error.message().contains("the new container is created, and the old one is left"),
        "{error}"
    );
}
