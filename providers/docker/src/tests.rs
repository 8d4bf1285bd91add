//! Responses in `fixtures` were recorded from Docker 20.10 (API 1.41), without unused fields.

mod addresses;
mod control;
mod create_request;
mod describe;
mod events;
mod exec;
mod image;
mod list;
mod logs;
mod recreate;
mod remove;
mod stop;
mod usage;

use drowse_provider_sdk::testing::{Harness, Reply};
use serde_json::{Value, json};

use crate::Docker;

const RUNNING: &str = include_str!("../fixtures/running.json");
const PAUSED: &str = include_str!("../fixtures/paused.json");
const EXITED: &str = include_str!("../fixtures/exited.json");
const CREATED: &str = include_str!("../fixtures/created.json");

/// Id of the recorded container `web`.
const WEB_ID: &str = "32ed33c86aef34cc2290ca5450f2153fed212b12ee402ddb2cba2bd6faf783be";

const INSPECT_WEB: &str = "GET /v1.41/containers/web/json";

/// A provider that has just negotiated with an engine of API 1.41.
fn docker() -> Harness<Docker> {
    engine("1.41", json!({}))
}

/// A provider with these settings and an engine of this version, just negotiated.
fn engine(version: &str, settings: Value) -> Harness<Docker> {
    let test = Harness::with_settings(settings);
    test.expect(
        "engine",
        "GET /_ping",
        Reply::status(200).header("Api-Version", version).body("OK"),
    );
    test
}

fn recorded(body: &str) -> Reply {
    Reply::status(200).header("content-type", "application/json").body(body)
}

fn refused(status: u16, message: &str) -> Reply {
    Reply::status(status).body(json!({ "message": message }).to_string())
}

/// A recorded response with one value replaced, by JSON pointer.
fn changed(body: &str, pointer: &str, value: Value) -> Reply {
    let mut body: Value = serde_json::from_str(body).unwrap();
    *body.pointer_mut(pointer).unwrap() = value;
    Reply::json(body)
}

fn missing() -> Reply {
    refused(404, "No such container: web")
}
