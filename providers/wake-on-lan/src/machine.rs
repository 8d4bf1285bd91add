//! One machine: wake, sleep, query.
//!
//! A machine does not report its own state. A granted command `ping` or the agent may; without
//! either the state is that of the last action, kept in the cache.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Endpoint, Error, ErrorCode, Observation, Result, Status, Target,
    clock::{self, Deadline},
    command, memo, udp, warn,
};

use crate::{
    packet::{SixBytes, magic},
    program,
    settings::{Settings, TargetSettings, fill_name},
};

/// Endpoint for magic packets.
pub(crate) const LAN: &str = "lan";
/// Endpoint that puts machines to sleep.
pub(crate) const AGENT: &str = "agent";
/// Command that puts a machine to sleep.
pub(crate) const SLEEP: &str = "sleep";
/// Command that checks whether a host is awake.
pub(crate) const PING: &str = "ping";

/// Number of packets sent, because packets may be lost unnoticed.
const PACKETS: usize = 3;
/// Pause between two packets.
const PACKET_INTERVAL: Duration = Duration::from_millis(100);
/// Pause between two queries of a machine that goes to sleep.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Timeout of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// One machine of the network.
pub(crate) struct Machine<'a> {
    settings: &'a Settings,
    name: &'a str,
    card: SixBytes,
    packet: Vec<u8>,
    address: Address,
}

/// Cached state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastState {
    Nothing,
    /// Put to sleep, or observed asleep.
    Asleep,
    /// Observed awake.
    Awake,
    /// Packets were sent at this time of the monotonic clock.
    Woken(Duration),
}

// === impl Machine ===

impl<'a> Machine<'a> {
    pub(crate) fn of(settings: &'a Settings, target: &'a Target<TargetSettings>) -> Result<Self> {
        let (name, own) = (target.handle.as_str(), &target.settings);
        let card = own.card(name)?;
        let packet = magic(card, own.password(name)?);
        Ok(Self { settings, name, card, packet, address: own.address(name)? })
    }

    pub(crate) fn wake(&self) -> Result<Observation> {
        for packet_number in 0..PACKETS {
            if packet_number > 0 {
                clock::sleep(PACKET_INTERVAL);
            }
            udp::send(LAN, &self.packet).map_err(|error| self.with_context("wake", error))?;
        }
        self.remember(&clock::monotonic().as_nanos().to_string());
        Ok(self.running("woken"))
    }

    pub(crate) fn sleep(&self) -> Result<Observation> {
        let seen = self.query("put to sleep")?;
        let is_asleep = match seen {
            // A booting machine must be put to sleep as well.
            Some(awake) => !awake && !self.is_booting(),
            None => self.last_state() == LastState::Asleep,
        };
        if !is_asleep {
            let deadline = Deadline::after(self.settings.patience.0);
            let result = self.request_sleep();
            match result {
                // The machine may have fallen asleep before it answered; the query decides.
                Err(error) if seen.is_some() && may_have_taken_effect(&error) => {}
                result => result.map_err(|error| self.with_context("put to sleep", error))?,
            }
            while self.query("put to sleep")? == Some(true) {
                if deadline.left().is_none() {
                    let timeout = self.settings.patience.0.as_secs_f64();
                    let error = Error::timeout(format!("still awake after {timeout}s"));
                    return Err(self.with_context("put to sleep", error));
                }
                clock::sleep(POLL_INTERVAL);
            }
        }
        self.remember("asleep");
        Ok(self.stopped("asleep"))
    }

    pub(crate) fn observe(&self) -> Result<Observation> {
        Ok(match (self.query("query")?, self.last_state()) {
            (Some(true), _) => {
                self.remember("awake");
                self.running("awake")
            }
            (Some(false), _) if self.is_booting() => {
                self.running("woken").with_detail("woken recently; no answer yet")
            }
            (Some(false), _) => {
                self.remember("asleep");
                self.stopped("asleep")
            }
            (None, LastState::Awake) => self.running("awake"),
            (None, LastState::Woken(_)) => self.running("woken"),
            (None, LastState::Asleep) => self.stopped("asleep"),
            (None, LastState::Nothing) => self.stopped("never woken").with_detail(
                "unknown whether it is awake; grant a command `ping`, or set settings.status",
            ),
        })
    }

    /// Returns whether the machine is awake, if a command or agent can check it.
    fn query(&self, verb: &str) -> Result<Option<bool>> {
        let with_context = |error| self.with_context(verb, error);
        if command::is_granted(PING) {
            let ended =
                program::run(PING, &self.address.host, QUERY_TIMEOUT).map_err(with_context)?;
            return Ok(Some(ended.status == 0));
        }
        let Some(query) = &self.settings.status else { return Ok(None) };
        let path = fill_name(&query.path, self.name);
        match Endpoint::new(AGENT).get(&path).timeout(QUERY_TIMEOUT).send() {
            Ok(answer) if answer.is_success() => Ok(Some(true)),
            Ok(answer) => match answer.status() {
                404 | 410 | 503 | 504 => Ok(Some(false)),
                status => Err(with_context(Error::http(status, format!("GET {path}: {status}")))),
            },
            // An agent on the machine itself sleeps with it.
            Err(error)
                if *error.code() == ErrorCode::Unavailable || may_have_taken_effect(&error) =>
            {
                Ok(Some(false))
            }
            Err(error) => Err(with_context(error)),
        }
    }

    fn request_sleep(&self) -> Result<()> {
        if command::is_granted(SLEEP) {
            let ended = program::run(SLEEP, self.name, self.settings.patience.0)?;
            return match ended.status {
                0 => Ok(()),
                status => {
                    let reason = match ended.line.as_str() {
                        "" => String::new(),
                        line => format!(": {line}"),
                    };
                    let why = format!("command \"sleep\" exited with status {status}{reason}");
                    Err(Error::unavailable(why).with_attribute("exit-status", status.to_string()))
                }
            };
        }
        let Some(request) = &self.settings.sleep else {
            return Err(Error::unsupported(
                "no way to put it to sleep: add to the provider's table: \
                 command.sleep = { run = [\"program\"], allow-extra-arguments = true }; or grant an endpoint \
                 `agent` and set settings.sleep = { path = \"/machines/{name}/sleep\" }",
            ));
        };
        let path = fill_name(&request.path, self.name);
        let answer = Endpoint::new(AGENT).request(&request.method, &path).send()?;
        match answer.status() {
            200..=299 | 409 => Ok(()),
            status => Err(Error::http(status, format!("{} {path}: {status}", request.method))),
        }
    }

    /// The machine was woken recently and may not answer yet.
    fn is_booting(&self) -> bool {
        let since = |at| clock::monotonic().saturating_sub(at);
        matches!(self.last_state(), LastState::Woken(at) if since(at) < self.settings.boot.0)
    }

    fn last_state(&self) -> LastState {
        let text = memo::text(&self.card.to_string()).unwrap_or_default();
        match (text.as_str(), text.parse()) {
            ("asleep", _) => LastState::Asleep,
            ("awake", _) => LastState::Awake,
            (_, Ok(nanoseconds)) => LastState::Woken(Duration::from_nanos(nanoseconds)),
            _ => LastState::Nothing,
        }
    }

    /// Stores `asleep`, `awake`, or the time of the wake in nanoseconds.
    fn remember(&self, word: &str) {
        if !memo::set(&self.card.to_string(), word) {
            warn!(
                "the state of {:?} does not fit into the cache; grant a command `ping`, or set \
                 settings.status",
                self.name
            );
        }
    }

    fn running(&self, word: &str) -> Observation {
        Observation::new(self.name, Status::Running, word).with_address(self.address.clone())
    }

    fn stopped(&self, word: &str) -> Observation {
        Observation::new(self.name, Status::Stopped, word)
    }

    fn with_context(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} {:?}", self.name))
    }
}

/// The request may have taken effect.
fn may_have_taken_effect(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Timeout | ErrorCode::Internal)
}
