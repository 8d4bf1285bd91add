//! One machine: woken, put to sleep, looked at.
//!
//! Nothing tells by itself whether a machine is awake. A granted command `ping` or the agent may;
//! without either it is what was last done to it, as the memo remembers.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Endpoint, Error, ErrorCode, Observation, Result, Status, Target,
    clock::{self, Deadline},
    command, memo, udp, warn,
};

use crate::{
    packet::{Six, magic},
    program,
    settings::{Settings, TargetSettings, filled},
};

/// The endpoint that takes magic packets.
pub(crate) const LAN: &str = "lan";
/// The endpoint that puts machines to sleep.
pub(crate) const AGENT: &str = "agent";
/// The command that puts a machine to sleep.
pub(crate) const SLEEP: &str = "sleep";
/// The command that tells whether a host is awake.
pub(crate) const PING: &str = "ping";

/// Packets get lost, and nobody says so.
const PACKETS: usize = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at a machine that goes to sleep.
const POLL: Duration = Duration::from_secs(2);
/// For a look.
const LOOK: Duration = Duration::from_secs(10);

/// One machine of the network.
pub(crate) struct Machine<'a> {
    settings: &'a Settings,
    name: &'a str,
    card: Six,
    packet: Vec<u8>,
    address: Address,
}

/// What the memo remembers of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It was put to sleep, or seen asleep.
    Asleep,
    /// It was seen awake.
    Awake,
    /// Packets were sent at this moment of the monotonic clock.
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
        for turn in 0..PACKETS {
            if turn > 0 {
                clock::sleep(PAUSE);
            }
            udp::send(LAN, &self.packet).map_err(|error| self.told("wake", error))?;
        }
        self.remember(&clock::monotonic().as_nanos().to_string());
        Ok(self.running("woken"))
    }

    pub(crate) fn sleep(&self) -> Result<Observation> {
        let seen = self.look("put to sleep")?;
        let rests = match seen {
            // One that still boots has to be asked, too.
            Some(awake) => !awake && !self.boots(),
            None => self.known() == Known::Asleep,
        };
        if !rests {
            let deadline = Deadline::after(self.settings.patience.0);
            let asked = self.ask_to_sleep();
            match asked {
                // It may have gone to sleep before it could answer; a look will tell.
                Err(error) if seen.is_some() && is_open(&error) => {}
                asked => asked.map_err(|error| self.told("put to sleep", error))?,
            }
            while self.look("put to sleep")? == Some(true) {
                if deadline.left().is_none() {
                    let patience = self.settings.patience.0.as_secs_f64();
                    let error = Error::timeout(format!("still awake after {patience}s"));
                    return Err(self.told("put to sleep", error));
                }
                clock::sleep(POLL);
            }
        }
        self.remember("asleep");
        Ok(self.stopped("asleep"))
    }

    pub(crate) fn observe(&self) -> Result<Observation> {
        Ok(match (self.look("look at")?, self.known()) {
            (Some(true), _) => {
                self.remember("awake");
                self.running("awake")
            }
            (Some(false), _) if self.boots() => {
                self.running("woken").with_detail("woken a moment ago; it does not answer yet")
            }
            (Some(false), _) => {
                self.remember("asleep");
                self.stopped("asleep")
            }
            (None, Known::Awake) => self.running("awake"),
            (None, Known::Woken(_)) => self.running("woken"),
            (None, Known::Asleep) => self.stopped("asleep"),
            (None, Known::Nothing) => self.stopped("never woken").with_detail(
                "nothing tells whether it is awake; grant a command `ping`, or set settings.status",
            ),
        })
    }

    /// Whether it is awake, if anything can tell.
    fn look(&self, verb: &str) -> Result<Option<bool>> {
        let told = |error| self.told(verb, error);
        if command::is_granted(PING) {
            let ended = program::run(PING, &self.address.host, LOOK).map_err(told)?;
            return Ok(Some(ended.status == 0));
        }
        let Some(look) = &self.settings.status else { return Ok(None) };
        let path = filled(&look.path, self.name);
        match Endpoint::new(AGENT).get(&path).timeout(LOOK).send() {
            Ok(answer) if answer.is_success() => Ok(Some(true)),
            Ok(answer) => match answer.status() {
                404 | 410 | 503 | 504 => Ok(Some(false)),
                status => Err(told(Error::http(status, format!("GET {path}: {status}")))),
            },
            // An agent on the machine itself sleeps with it.
            Err(error) if *error.code() == ErrorCode::Unavailable || is_open(&error) => {
                Ok(Some(false))
            }
            Err(error) => Err(told(error)),
        }
    }

    fn ask_to_sleep(&self) -> Result<()> {
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
        let Some(ask) = &self.settings.sleep else {
            return Err(Error::unsupported(
                "nothing is there that could: add to the provider's table: \
                 command.sleep = { run = [\"program\"], extra-arguments = true }; or grant an endpoint \
                 `agent` and say settings.sleep = { path = \"/machines/{name}/sleep\" }",
            ));
        };
        let path = filled(&ask.path, self.name);
        let answer = Endpoint::new(AGENT).request(&ask.method, &path).send()?;
        match answer.status() {
            200..=299 | 409 => Ok(()),
            status => Err(Error::http(status, format!("{} {path}: {status}", ask.method))),
        }
    }

    /// It was woken a moment ago and may not answer yet.
    fn boots(&self) -> bool {
        let since = |at| clock::monotonic().saturating_sub(at);
        matches!(self.known(), Known::Woken(at) if since(at) < self.settings.boot.0)
    }

    fn known(&self) -> Known {
        let text = memo::text(&self.card.to_string()).unwrap_or_default();
        match (text.as_str(), text.parse()) {
            ("asleep", _) => Known::Asleep,
            ("awake", _) => Known::Awake,
            (_, Ok(nanoseconds)) => Known::Woken(Duration::from_nanos(nanoseconds)),
            _ => Known::Nothing,
        }
    }

    /// `asleep`, `awake`, or the nanoseconds of the moment when it was woken.
    fn remember(&self, word: &str) {
        if !memo::set(&self.card.to_string(), word) {
            warn!(
                "{:?} is one machine more than can be remembered; grant a command `ping`, or set \
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

    fn told(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} {:?}", self.name))
    }
}

/// The request may have had its effect.
fn is_open(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Timeout | ErrorCode::Internal)
}
