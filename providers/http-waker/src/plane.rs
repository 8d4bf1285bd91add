//! One target at the control plane: asked for, looked at, waited for.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Endpoint, Error, ErrorCode, Observation, Response, Result, Status, Target, clock,
};
use serde_json::Value;

use crate::{
    settings::{Ask, Look, Settings, State, TargetSettings},
    template::Words,
    turn::Turn,
};

/// The endpoint's name in the grant.
pub(crate) const ENDPOINT: &str = "api";

/// Of a refusal so much is told, in bytes.
const REASON_LIMIT: usize = 200;
/// The longest that a control plane may ask to be left alone.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// One target at the control plane.
pub(crate) struct Plane<'a> {
    settings: &'a Settings,
    name: &'a str,
    words: Words<'a>,
    /// Where it is by the operator's word.
    address: Option<Address>,
    port: Option<u16>,
}

// === impl Plane ===

impl<'a> Plane<'a> {
    pub(crate) fn of(settings: &'a Settings, target: &'a Target<TargetSettings>) -> Result<Self> {
        let name = target.handle.as_str();
        let words = Words { name, values: &target.settings.values };
        let (address, port) = (target.settings.address(name)?, target.settings.port);
        Ok(Self { settings, name, words, address, port })
    }

    /// A call that is to ask for something begins.
    pub(crate) fn turn(&self) -> Turn<'a> {
        Turn::begin(self.name, self.settings.patience.0)
    }

    /// What the target is now.
    pub(crate) fn look(&self) -> Result<Observation> {
        let look = &self.settings.status;
        let path = self.filled(self.words.path(&look.path))?;
        let answer = self.send("look at", || Endpoint::new(ENDPOINT).get(&path).send())?;
        match answer.status() {
            404 | 410 => Ok(Observation::missing(self.name)),
            _ if answer.is_success() => {
                let json = answer.json().map_err(|error| self.told("look at", error))?;
                Ok(self.complete(observe(look, self.name, &json)))
            }
            _ => Err(self.told("look at", refusal(answer))),
        }
    }

    /// Sends a request that changes the target.
    pub(crate) fn ask(&self, verb: &str, ask: &Ask) -> Result<()> {
        let path = self.filled(self.words.path(&ask.path))?;
        let mut headers = Vec::new();
        for (name, text) in &ask.headers {
            headers.push((name.as_str(), self.filled(self.words.text(text))?));
        }
        let body = match &ask.body {
            None => None,
            Some(Value::String(text)) => Some(self.filled(self.words.text(text))?),
            Some(json) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type", "application/json".to_owned()));
                }
                Some(self.filled(self.words.json(json))?.to_string())
            }
        };
        let answer = self.send(verb, || {
            let mut request = Endpoint::new(ENDPOINT).request(&ask.method, &path);
            for (name, text) in &headers {
                request = request.header(name, text);
            }
            match &body {
                Some(body) => request.body(body.clone()).send(),
                None => request.send(),
            }
        })?;
        match answer.status() {
            status if ask.accepts(status) => Ok(()),
            _ => Err(self.told(verb, refusal(answer))),
        }
    }

    /// Looks until the target is as wanted. `arrived` says whether it is, or why it never will be.
    /// In vain is a timeout, or a conflict if somebody else has asked for something meanwhile.
    pub(crate) fn wait(
        &self,
        verb: &str,
        turn: &Turn<'_>,
        arrived: impl Fn(&Observation) -> Result<bool>,
    ) -> Result<Observation> {
        let began = clock::monotonic();
        let patience = self.settings.patience.0;
        loop {
            let seen = self.look();
            let last = match seen {
                Ok(seen) if arrived(&seen).map_err(|error| self.told(verb, error))? => {
                    return Ok(seen);
                }
                Ok(seen) => match lacks_address(&seen) {
                    true => format!("{:?} without an address", seen.native_status),
                    false => format!("{:?}", seen.native_status),
                },
                // A control plane that is away for a moment does not undo what was asked of it.
                Err(error) if passes(error.code()) => error.message().to_owned(),
                Err(error) => return Err(error),
            };
            let waited = clock::monotonic().saturating_sub(began);
            if waited + self.settings.poll.0 > patience {
                let why = format!("still {last} after {}s", patience.as_secs_f64());
                let error = match turn.has_met_another() {
                    true => Error::conflict(format!(
                        "{why}; somebody else has asked for something at the same time"
                    )),
                    false => Error::timeout(why),
                };
                return Err(self.told(verb, error));
            }
            clock::sleep(self.settings.poll.0);
        }
    }

    /// Sends a request, and again as often as the operator allows.
    fn send(&self, verb: &str, send: impl Fn() -> Result<Response>) -> Result<Response> {
        let retry = &self.settings.retry;
        let mut pause = retry.pause.0;
        for _ in 0..retry.times {
            let asked_for = match send() {
                Ok(answer) if retry.statuses.contains(&answer.status()) => {
                    let seconds = answer.header("retry-after").and_then(|text| text.parse().ok());
                    seconds.map_or(Duration::ZERO, Duration::from_secs).min(RETRY_AFTER)
                }
                Err(error) if passes(error.code()) => Duration::ZERO,
                outcome => return outcome.map_err(|error| self.told(verb, error)),
            };
            clock::sleep(pause.max(asked_for));
            pause = pause.saturating_mul(2);
        }
        send().map_err(|error| self.told(verb, error))
    }

    /// Adds what the operator knows and the control plane does not say.
    fn complete(&self, mut seen: Observation) -> Observation {
        if seen.addresses.is_empty() && seen.status == Status::Running {
            seen.addresses.extend(self.address.clone());
        }
        for address in &mut seen.addresses {
            address.port = address.port.or(self.port);
            if address.port.is_some() {
                // A port that is told is where the target is now, and not what routes call it.
                *address = address.clone().for_any_port();
            }
        }
        seen
    }

    fn filled<T>(&self, filled: Result<T, String>) -> Result<T> {
        filled.map_err(|what| {
            Error::invalid_request(format!("settings of target {:?}: {what}", self.name))
        })
    }

    pub(crate) fn told(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} {:?}", self.name))
    }
}

/// It runs, and nobody can get there.
pub(crate) fn lacks_address(seen: &Observation) -> bool {
    seen.status == Status::Running && seen.addresses.is_empty()
}

/// What an answer says of a target.
pub(crate) fn observe(look: &Look, name: &str, answer: &Value) -> Observation {
    let word = text(answer, &look.state).unwrap_or_else(|| "unknown".to_owned());
    let status = match look.state_of(&word) {
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
    let said = |pointer: &Option<String>| pointer.as_ref().and_then(|at| text(answer, at));
    seen.native_id = said(&look.id);
    seen.detail = said(&look.detail);
    if seen.status == Status::Running
        && let Some(host) = text(answer, &look.address).filter(|host| !host.is_empty())
    {
        let mut address = Address::parse(&host).unwrap_or_else(|| Address::new(host));
        address.port = said(&look.port).and_then(|port| port.parse().ok()).or(address.port);
        seen.addresses.push(address);
    }
    seen
}

/// A text, number or boolean at this place.
pub(crate) fn text(answer: &Value, pointer: &str) -> Option<String> {
    match answer.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The error that an answer with an unwanted status stands for.
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

/// Trying again may help.
fn passes(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal)
}
