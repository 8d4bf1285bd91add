//! One target at the control plane: requests, queries, waiting.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Endpoint, Error, ErrorCode, Observation, Response, Result, Status, Target, clock,
};
use serde_json::Value;

use crate::{
    concurrent_call::ConcurrentCall,
    settings::{Request, Settings, State, StatusQuery, TargetSettings},
    template::Values,
};

/// Endpoint name in the grant.
pub(crate) const ENDPOINT: &str = "api";

/// Maximum length of an error reason, in characters.
const REASON_LIMIT: usize = 200;
/// Longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// One target at the control plane.
pub(crate) struct ControlPlane<'a> {
    settings: &'a Settings,
    name: &'a str,
    values: Values<'a>,
    /// The operator's address of the target.
    address: Option<Address>,
    port: Option<u16>,
}

// === impl ControlPlane ===

impl<'a> ControlPlane<'a> {
    pub(crate) fn of(settings: &'a Settings, target: &'a Target<TargetSettings>) -> Result<Self> {
        let name = target.handle.as_str();
        let values = Values { name, values: &target.settings.values };
        let (address, port) = (target.settings.address(name)?, target.settings.port);
        Ok(Self { settings, name, values, address, port })
    }

    /// Begins a call that changes the target.
    pub(crate) fn call(&self) -> ConcurrentCall<'a> {
        ConcurrentCall::begin(self.name, self.settings.patience.0)
    }

    /// Current state of the target.
    pub(crate) fn query(&self) -> Result<Observation> {
        let query = &self.settings.status;
        let path = self.with_target(self.values.path(&query.path))?;
        let answer = self.send("query", || Endpoint::new(ENDPOINT).get(&path).send())?;
        match answer.status() {
            404 | 410 => Ok(Observation::missing(self.name)),
            _ if answer.is_success() => {
                let json = answer.json().map_err(|error| self.with_context("query", error))?;
                Ok(self.complete(observe(query, self.name, &json)))
            }
            _ => Err(self.with_context("query", refusal(answer))),
        }
    }

    /// Sends a request that changes the target.
    pub(crate) fn request(&self, verb: &str, request: &Request) -> Result<()> {
        let path = self.with_target(self.values.path(&request.path))?;
        let mut headers = Vec::new();
        for (name, text) in &request.headers {
            headers.push((name.as_str(), self.with_target(self.values.text(text))?));
        }
        let body = match &request.body {
            None => None,
            Some(Value::String(text)) => Some(self.with_target(self.values.text(text))?),
            Some(json) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type", "application/json".to_owned()));
                }
                Some(self.with_target(self.values.json(json))?.to_string())
            }
        };
        let answer = self.send(verb, || {
            let mut request = Endpoint::new(ENDPOINT).request(&request.method, &path);
            for (name, text) in &headers {
                request = request.header(name, text);
            }
            match &body {
                Some(body) => request.body(body.clone()).send(),
                None => request.send(),
            }
        })?;
        match answer.status() {
            status if request.accepts(status) => Ok(()),
            _ => Err(self.with_context(verb, refusal(answer))),
        }
    }

    /// Queries until the target is as wanted. `arrived` decides, or returns why it never will be.
    /// After the deadline the error is a timeout, or a conflict if another call changed the target
    /// meanwhile.
    pub(crate) fn wait(
        &self,
        verb: &str,
        call: &ConcurrentCall<'_>,
        arrived: impl Fn(&Observation) -> Result<bool>,
    ) -> Result<Observation> {
        let began = clock::monotonic();
        let patience = self.settings.patience.0;
        loop {
            let seen = self.query();
            let last = match seen {
                Ok(seen) if arrived(&seen).map_err(|error| self.with_context(verb, error))? => {
                    return Ok(seen);
                }
                Ok(seen) => match lacks_address(&seen) {
                    true => format!("{:?} without an address", seen.native_status),
                    false => format!("{:?}", seen.native_status),
                },
                // A temporary error of the control plane does not revoke the request.
                Err(error) if is_transient(error.code()) => error.message().to_owned(),
                Err(error) => return Err(error),
            };
            let waited = clock::monotonic().saturating_sub(began);
            if waited + self.settings.poll.0 > patience {
                let why = format!("still {last} after {}s", patience.as_secs_f64());
                let error = match call.has_conflict() {
                    true => {
                        Error::conflict(format!("{why}; another call changed the target meanwhile"))
                    }
                    false => Error::timeout(why),
                };
                return Err(self.with_context(verb, error));
            }
            clock::sleep(self.settings.poll.0);
        }
    }

    /// Sends a request, with the configured retries.
    fn send(&self, verb: &str, send: impl Fn() -> Result<Response>) -> Result<Response> {
        let retry = &self.settings.retry;
        let mut pause = retry.pause.0;
        for _ in 0..retry.times {
            let retry_after = match send() {
                Ok(answer) if retry.statuses.contains(&answer.status()) => {
                    let seconds = answer.header("retry-after").and_then(|text| text.parse().ok());
                    seconds.map_or(Duration::ZERO, Duration::from_secs).min(MAX_RETRY_AFTER)
                }
                Err(error) if is_transient(error.code()) => Duration::ZERO,
                outcome => return outcome.map_err(|error| self.with_context(verb, error)),
            };
            clock::sleep(pause.max(retry_after));
            pause = pause.saturating_mul(2);
        }
        send().map_err(|error| self.with_context(verb, error))
    }

    /// Adds the configured address and port where the control plane reports none.
    fn complete(&self, mut seen: Observation) -> Observation {
        if seen.addresses.is_empty() && seen.status == Status::Running {
            seen.addresses.extend(self.address.clone());
        }
        for address in &mut seen.addresses {
            address.port = address.port.or(self.port);
            if address.port.is_some() {
                // A reported port is the target's current one, so it replaces the route's.
                *address = address.clone().for_any_port();
            }
        }
        seen
    }

    fn with_target<T>(&self, with_target: Result<T, String>) -> Result<T> {
        with_target.map_err(|what| {
            Error::invalid_request(format!("settings of target {:?}: {what}", self.name))
        })
    }

    pub(crate) fn with_context(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} {:?}", self.name))
    }
}

/// The target runs without an address.
pub(crate) fn lacks_address(seen: &Observation) -> bool {
    seen.status == Status::Running && seen.addresses.is_empty()
}

/// Parses an observation from a response.
pub(crate) fn observe(query: &StatusQuery, name: &str, answer: &Value) -> Observation {
    let word = text(answer, &query.state).unwrap_or_else(|| "unknown".to_owned());
    let status = match query.state_of(&word) {
        Some(State::Running) => Status::Running,
        Some(State::Starting) => Status::Starting,
        Some(State::Paused) => Status::Paused,
        Some(State::Stopping) => Status::Stopping,
        Some(State::Stopped) => Status::Stopped,
        Some(State::Failed) => Status::Failed,
        Some(State::Missing) => Status::Missing,
        None => Status::Other(word.clone()),
    };
    let mut seen = Observation::new(name, status, word);
    let value_at = |pointer: &Option<String>| pointer.as_ref().and_then(|at| text(answer, at));
    seen.native_id = value_at(&query.id);
    seen.detail = value_at(&query.detail);
    if seen.status == Status::Running
        && let Some(host) = text(answer, &query.address).filter(|host| !host.is_empty())
    {
        let mut address = Address::parse(&host).unwrap_or_else(|| Address::new(host));
        address.port = value_at(&query.port).and_then(|port| port.parse().ok()).or(address.port);
        seen.addresses.push(address);
    }
    seen
}

/// The text, number or boolean at this pointer.
pub(crate) fn text(answer: &Value, pointer: &str) -> Option<String> {
    match answer.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The error of a response with an unexpected status.
pub(crate) fn refusal(answer: Response) -> Error {
    let (what, status) = (answer.request().to_owned(), answer.status());
    let body = answer.bytes(REASON_LIMIT * 16).unwrap_or_default();
    let reason = match serde_json::from_slice::<Value>(&body) {
        Ok(json) => ["/detail", "/message", "/error/message", "/error", "/title"]
            .iter()
            .find_map(|at| text(&json, at))
            .unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    let reason: String =
        reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_LIMIT).collect();
    match reason.trim() {
        "" => Error::http(status, format!("{what}: {status}")),
        reason => Error::http(status, format!("{what}: {status}: {reason}")),
    }
}

/// A retry may succeed.
fn is_transient(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal)
}
