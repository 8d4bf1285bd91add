//! Settings: the requests that start, stop and query a target.

use std::collections::BTreeMap;

use drowse_provider_sdk::{
    Address, Error, Result, Span,
    settings::{self, refuse},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::template;

/// Settings of the control plane.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Starts a target.
    pub start: Request,
    /// Stops a target.
    pub stop: Request,
    /// Pauses a target in memory; without it the provider cannot pause.
    pub pause: Option<Request>,
    /// Resumes a paused target; default is `start`.
    pub resume: Option<Request>,
    /// Kills a target; without it the provider cannot kill.
    pub kill: Option<Request>,
    /// Queries a target's state.
    pub status: StatusQuery,
    /// Lists all targets; without it the provider knows only configured ones.
    pub list: Option<List>,
    /// Interval of queries while a target starts or stops.
    pub poll: Span,
    /// Timeout for a target to start or stop.
    pub patience: Span,
    /// Retries of failed requests.
    pub retry: Retry,
}

/// A request that changes a target. In `path`, `headers` and `body`, `{name}` is the target's name
/// and `{values.KEY}` an entry of its workload's `values`; in paths they are percent-encoded. Write
/// `{{` or `}}` for a brace.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// HTTP method; default `POST`.
    #[serde(default = "post")]
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers of the body. Credentials belong to the endpoint.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A text is sent as is, any other value as JSON.
    pub body: Option<Value>,
    /// Statuses that mean done or in progress; default 2xx and 409.
    pub accept: Option<Vec<u16>>,
}

/// A request for a target's state, and JSON pointers (RFC 6901) into its response.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StatusQuery {
    /// Path and query, with `{name}` and `{values.KEY}`.
    pub path: String,
    /// Pointer to the state.
    pub state: String,
    /// Pointer to the address, `host:port` or the host alone.
    pub address: String,
    /// Pointer to the port, if separate.
    pub port: Option<String>,
    /// Pointer to an id of the target's instance.
    pub id: Option<String>,
    /// Pointer to a description for people.
    pub detail: Option<String>,
    /// Additional state names of the control plane: `running = ["ok"]`.
    pub words: BTreeMap<State, Vec<String>>,
}

/// A request for all targets. Items have the shape that `status` defines.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct List {
    /// Path and query.
    pub path: String,
    /// JSON pointer to the list; default is the whole response.
    #[serde(default)]
    pub items: String,
    /// JSON pointer to a target's name in an item.
    #[serde(default = "name")]
    pub name: String,
    /// Interval of queries of the list.
    #[serde(default = "every")]
    pub every: Span,
}

/// A state that state names of a control plane map to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs.
    Running,
    /// It is starting.
    Starting,
    /// It is paused in memory.
    Paused,
    /// It is stopping.
    Stopping,
    /// It does not run.
    Stopped,
    /// It cannot run.
    Failed,
    /// It does not exist.
    Missing,
}

/// Retries of failed requests. A request that may have taken effect is repeated, too; set `times =
/// 0` for a control plane whose `start` must not be repeated.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Retry {
    /// Maximum number of retries.
    pub times: u32,
    /// First pause; doubles after each retry. A longer `Retry-After` takes precedence.
    pub pause: Span,
    /// Statuses that are retried, besides a missing response.
    pub statuses: Vec<u16>,
}

/// Settings of one target.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetSettings {
    /// Address if the control plane reports none: `host:port` or the host alone.
    pub address: Option<String>,
    /// Port if the control plane reports only a host.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Values of `{values.KEY}` in the requests.
    pub values: BTreeMap<String, String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn name() -> String {
    "/name".to_owned()
}

fn every() -> Span {
    Span::seconds(10)
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Request::post("/servers/{name}/start"),
            stop: Request::post("/servers/{name}/stop"),
            pause: None,
            resume: None,
            kill: None,
            status: StatusQuery::default(),
            list: None,
            poll: Span::seconds(2),
            patience: Span::seconds(90),
            retry: Retry::default(),
        }
    }
}

impl Settings {
    /// Validates the values.
    pub(crate) fn check(&self) -> Result<()> {
        let requests = [
            ("start", Some(&self.start)),
            ("stop", Some(&self.stop)),
            ("pause", self.pause.as_ref()),
            ("resume", self.resume.as_ref()),
            ("kill", self.kill.as_ref()),
        ];
        for (key, request) in requests {
            request.map_or(Ok(()), |request| request.check(key))?;
        }
        self.status.check()?;
        if let Some(list) = &self.list {
            check_path("list.path", &list.path)?;
            check_pointer("list.items", &list.items)?;
            check_pointer("list.name", &list.name)?;
            check_pause("list.every", list.every)?;
        }
        check_pause("poll", self.poll)?;
        check_pause("retry.pause", self.retry.pause)
    }
}

// === impl Request ===

impl Request {
    fn post(path: &str) -> Self {
        let (method, path) = (post(), path.to_owned());
        Self { method, path, headers: BTreeMap::new(), body: None, accept: None }
    }

    /// Returns whether the status means done or in progress.
    pub(crate) fn accepts(&self, status: u16) -> bool {
        match &self.accept {
            Some(statuses) => statuses.contains(&status),
            None => (200..300).contains(&status) || status == 409,
        }
    }

    fn check(&self, key: &str) -> Result<()> {
        settings::check_method(&format!("{key}.method"), &self.method)?;
        check_path(&format!("{key}.path"), &self.path)?;
        for (name, text) in &self.headers {
            check_template(&format!("{key}.headers.{name}"), text)?;
        }
        match &self.body {
            Some(body) => check_body(&format!("{key}.body"), body),
            None => Ok(()),
        }
    }
}

// === impl StatusQuery ===

impl Default for StatusQuery {
    fn default() -> Self {
        Self {
            path: "/servers/{name}".to_owned(),
            state: "/state".to_owned(),
            address: "/address".to_owned(),
            port: None,
            id: None,
            detail: None,
            words: BTreeMap::new(),
        }
    }
}

impl StatusQuery {
    fn check(&self) -> Result<()> {
        check_path("status.path", &self.path)?;
        check_pointer("status.state", &self.state)?;
        check_pointer("status.address", &self.address)?;
        let optional = [("port", &self.port), ("id", &self.id), ("detail", &self.detail)];
        for (key, pointer) in optional {
            if let Some(pointer) = pointer {
                check_pointer(&format!("status.{key}"), pointer)?;
            }
        }
        Ok(())
    }

    /// Maps a state name of the control plane, ignoring case.
    pub(crate) fn state_of(&self, word: &str) -> Option<State> {
        let is = |known: &str| known.eq_ignore_ascii_case(word);
        let own = self.words.iter().find(|(_, words)| words.iter().any(|known| is(known)));
        let common = || COMMON_NAMES.iter().find(|(_, words)| words.iter().any(|known| is(known)));
        own.map(|(state, _)| *state).or_else(|| common().map(|(state, _)| *state))
    }
}

/// State names that all control planes use with the same meaning.
const COMMON_NAMES: [(State, &[&str]); 7] = [
    (State::Running, &["running", "started", "active", "online", "up", "on"]),
    (State::Starting, &["starting", "pending", "booting", "provisioning", "queued"]),
    (State::Paused, &["paused", "suspended"]),
    (State::Stopping, &["stopping", "terminating"]),
    (State::Stopped, &["stopped", "exited", "inactive", "offline", "down", "off", "asleep"]),
    (State::Failed, &["failed", "error", "crashed"]),
    (State::Missing, &["missing", "deleted", "terminated"]),
];

// === impl Retry ===

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, pause: Span::seconds(1), statuses: vec![429, 502, 503, 504] }
    }
}

// === impl TargetSettings ===

impl TargetSettings {
    /// The operator's address of the target.
    pub(crate) fn address(&self, name: &str) -> Result<Option<Address>> {
        let Some(text) = &self.address else { return Ok(None) };
        let address = Address::parse(text).unwrap_or_else(|| Address::new(text.clone()));
        if text.is_empty() || (address.port.is_none() && text.matches(':').count() == 1) {
            return Err(Error::invalid_request(format!(
                "settings of target {name:?}: key \"address\": {text:?} is not host:port, for \
                 instance 10.0.0.5:25565"
            )));
        }
        Ok(Some(match (address.port, self.port) {
            (None, Some(port)) => address.with_port(port),
            _ => address,
        }))
    }
}

fn check_path(key: &str, path: &str) -> Result<()> {
    settings::check_path(key, path)?;
    check_template(key, path)
}

fn check_template(key: &str, text: &str) -> Result<()> {
    template::check(text).map_err(|what| refuse(key, &what))
}

fn check_body(key: &str, body: &Value) -> Result<()> {
    match body {
        Value::String(text) => check_template(key, text),
        Value::Array(items) => items.iter().try_for_each(|item| check_body(key, item)),
        Value::Object(table) => {
            table.iter().try_for_each(|(name, value)| check_body(&format!("{key}.{name}"), value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_pointer(key: &str, pointer: &str) -> Result<()> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    Err(refuse(key, "a JSON pointer such as /server/state"))
}

fn check_pause(key: &str, span: Span) -> Result<()> {
    if span.0.as_millis() < 50 {
        return Err(refuse(key, "at least 50ms"));
    }
    Ok(())
}
