//! The wake-on-lan provider of drowse: machines of the local network that a magic packet wakes. A
//! target is the MAC address of a network card, or a name whose settings have it. No packet puts a
//! machine to sleep: a granted command or an agent with an HTTP API does, if there is one.

#![forbid(unsafe_code)]

mod machine;
mod packet;
mod program;
mod settings;

use drowse_provider_sdk::{
    CommandWish, Description, EndpointWish, Observation, Provider, Result, StopOptions, Target,
};

use crate::{
    machine::Machine,
    settings::{Settings, TargetSettings},
};

/// The machines behind the granted network.
pub struct WakeOnLan {
    settings: Settings,
}

drowse_provider_sdk::export!(WakeOnLan);

// === impl Provider ===

impl Provider for WakeOnLan {
    type Settings = Settings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new("wake-on-lan", env!("CARGO_PKG_VERSION"), "machines of the local network")
            .endpoint(
                EndpointWish::new(machine::LAN, "takes the magic packets that wake machines")
                    .suggested_url("udp://255.255.255.255:9"),
            )
            .endpoint(
                EndpointWish::new(
                    machine::AGENT,
                    "puts machines to sleep and queries whether they are awake, by the requests in the settings",
                )
                .suggested_url("http://127.0.0.1:9000")
                .rules(["GET /machines/*", "POST /machines/*/sleep"])
                .rules_follow(["sleep", "status"])
                .optional(),
            )
            .command(
                CommandWish::new(machine::SLEEP, "puts the machine named by its argument to sleep")
                    .optional(),
            )
            .command(
                CommandWish::new(machine::PING, "succeeds when the host in its argument is awake")
                    .optional(),
            )
            .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// Sends the packet in any state: it has no effect on a machine that is awake. The router's
    /// probe finds out whether the machine answers.
    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Machine::of(&self.settings, target)?.wake()
    }

    fn stop(&self, target: &Target<TargetSettings>, _: &StopOptions) -> Result<Observation> {
        Machine::of(&self.settings, target)?.sleep()
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Machine::of(&self.settings, target)?.observe()
    }
}

#[cfg(test)]
mod tests;
