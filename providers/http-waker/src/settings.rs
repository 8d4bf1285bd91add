//! What the operator writes: which requests wake a target, put it to sleep and tell its state.

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
    /// Wakes a target.
    pub start: Ask,
    /// Puts a target to sleep.
    pub stop: Ask,
    /// Holds a target in memory; without it the provider cannot pause.
    pub pause: Option<Ask>,
    /// Continues a paused target; without it `start` does.
    pub resume: Option<Ask>,
    /// Ends a target at once; without it the provider cannot kill.
    pub kill: Option<Ask>,
    /// Tells what a target is now.
    pub status: Look,
    /// Tells all targets; without it the provider knows only those in use.
    pub list: Option<List>,
    /// Time between two looks while a target starts or stops.
    pub poll: Span,
    /// A target that is not running, or not stopped, after this long has failed to do so.
    pub patience: Span,
    /// What is tried again, and how often.
    pub retry: Retry,
}

/// A request that changes a target. In `path`, `headers` and `body`, `{name}` is the target's name
/// and `{values.KEY}` what its workload says under `values`; in paths they are percent-encoded.
/// A brace is written `{{` or `}}`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ask {
    /// `POST` unless said otherwise.
    #[serde(default = "post")]
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers that describe the body. Credentials belong to the endpoint.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    pub body: Option<Value>,
    /// Statuses that mean that it is done or under way: 2xx and 409 unless said otherwise.
    pub accept: Option<Vec<u16>>,
}

/// A request that tells a target's state, and where its answer says what, by JSON pointers
/// (RFC 6901).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Look {
    /// Path and query, with `{name}` and `{values.KEY}`.
    pub path: String,
    /// The state's word.
    pub state: String,
    /// The address, `host:port` or only the host.
    pub address: String,
    /// The port, where it stands by itself.
    pub port: Option<String>,
    /// What identifies this life of the target.
    pub id: Option<String>,
    /// A sentence for people.
    pub detail: Option<String>,
    /// Words of the control plane for a state, besides the usual ones: `running = ["ok"]`.
    pub words: BTreeMap<State, Vec<String>>,
}

/// A request that tells all targets. Its items are of the shape that `status` says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct List {
    /// Path and query.
    pub path: String,
    /// JSON pointer to the list; the whole answer unless said otherwise.
    #[serde(default)]
    pub items: String,
    /// JSON pointer to a target's name within an item.
    #[serde(default = "name")]
    pub name: String,
    /// Time between two looks at the list.
    #[serde(default = "every")]
    pub every: Span,
}

/// A state that the words of a control plane stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs.
    Running,
    /// It is on its way to running.
    Starting,
    /// It is held in memory.
    Paused,
    /// It is on its way to stopped.
    Stopping,
    /// It does not run.
    Stopped,
    /// It cannot run as it is.
    Failed,
    /// There is no such target.
    Missing,
}

/// When a request is sent again. One that may have had its effect is sent again, too: control
/// planes whose `start` counts should say `times = 0`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Retry {
    /// So often at most.
    pub times: u32,
    /// The first pause; each further one is twice as long. A longer `Retry-After` counts.
    pub pause: Span,
    /// Statuses that are worth another try, besides no answer at all.
    pub statuses: Vec<u16>,
}

/// Settings of one target.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetSettings {
    /// Where it is when the control plane does not say: `host:port` or only the host.
    pub address: Option<String>,
    /// Its port when the control plane tells only a host.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// For `{values.KEY}` in the requests.
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
            start: Ask::post("/servers/{name}/start"),
            stop: Ask::post("/servers/{name}/stop"),
            pause: None,
            resume: None,
            kill: None,
            status: Look::default(),
            list: None,
            poll: Span::seconds(2),
            patience: Span::seconds(90),
            retry: Retry::default(),
        }
    }
}

impl Settings {
    /// Finds what could never work.
    pub(crate) fn check(&self) -> Result<()> {
        let asks = [
            ("start", Some(&self.start)),
            ("stop", Some(&self.stop)),
            ("pause", self.pause.as_ref()),
            ("resume", self.resume.as_ref()),
            ("kill", self.kill.as_ref()),
        ];
        for (key, ask) in asks {
            ask.map_or(Ok(()), |ask| ask.check(key))?;
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

// === impl Ask ===

impl Ask {
    fn post(path: &str) -> Self {
        let (method, path) = (post(), path.to_owned());
        Self { method, path, headers: BTreeMap::new(), body: None, accept: None }
    }

    /// This status means that it is done or under way.
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

// === impl Look ===

impl Default for Look {
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

impl Look {
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

    /// What a word of the control plane means, whatever its case.
    pub(crate) fn state_of(&self, word: &str) -> Option<State> {
        let is = |known: &str| known.eq_ignore_ascii_case(word);
        let own = self.words.iter().find(|(_, words)| words.iter().any(|known| is(known)));
        let usual = || USUAL.iter().find(|(_, words)| words.iter().any(|known| is(known)));
        own.map(|(state, _)| *state).or_else(|| usual().map(|(state, _)| *state))
    }
}

/// Words that mean the same to all control planes.
const USUAL: [(State, &[&str]); 7] = [
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
    /// Where the target is by the operator's word.
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
