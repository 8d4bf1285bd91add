//! The provider of `docs/tutorial.md`: machines that a magic packet wakes.

use std::slice::from_ref;

use drowse_provider_sdk::{
    Address, CommandWish, Description, EndpointWish, Error, NoSettings, Observation, Provider,
    Result, Status, StopOptions, Target, command::Command, memo, udp,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of one machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// MAC address of its network card, such as 00:11:22:aa:bb:cc.
    pub mac: String,
    /// Address of the machine when it is awake: an IP address or a host name.
    pub address: String,
}

/// Parses `00:11:22:aa:bb:cc`.
fn card(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// The magic packet: six bytes `ff`, then the card's address sixteen times.
fn magic(card: [u8; 6]) -> Vec<u8> {
    [vec![0xff; 6], card.repeat(16)].concat()
}

/// Machines of the local network.
pub struct Machines;

drowse_provider_sdk::export!(Machines);

impl Provider for Machines {
    type Settings = NoSettings;
    type TargetSettings = Machine;

    fn describe() -> Description {
        Description::new(
            "wake-a-machine",
            env!("CARGO_PKG_VERSION"),
            "machines that a packet wakes",
        )
        .endpoint(
            EndpointWish::new("lan", "takes the magic packets")
                .suggested_url("udp://255.255.255.255:9"),
        )
        .command(CommandWish::new("sleep", "puts the machine in its argument to sleep").optional())
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &Target<Machine>) -> Result<Observation> {
        let card = card(&target.settings.mac).ok_or_else(|| {
            let (name, mac) = (&target.handle, &target.settings.mac);
            Error::invalid_request(format!("wake {name:?}: {mac:?} is no MAC address"))
        })?;
        udp::send("lan", magic(card))
            .map_err(|error| error.context(format!("wake {:?}", target.handle)))?;
        memo::set(&target.handle, "awake");
        Ok(seen(target, true))
    }

    fn stop(&self, target: &Target<Machine>, options: &StopOptions) -> Result<Observation> {
        let name = &target.handle;
        let started = Command::new("sleep").arguments(from_ref(name)).spawn();
        let with_context = |error: Error| error.context(format!("put {name:?} to sleep"));
        started.and_then(|program| program.wait(options.grace())).map_err(with_context)?;
        memo::set(name, "asleep");
        Ok(seen(target, false))
    }

    fn status(&self, target: &Target<Machine>) -> Result<Observation> {
        Ok(seen(target, memo::text(&target.handle).as_deref() == Some("awake")))
    }
}

/// Observation of a machine. The router forwards to its address.
fn seen(target: &Target<Machine>, awake: bool) -> Observation {
    match awake {
        true => Observation::new(&target.handle, Status::Running, "woken")
            .with_address(Address::new(&target.settings.address)),
        false => Observation::new(&target.handle, Status::Stopped, "asleep"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drowse_provider_sdk::testing::{Harness, Program, Target, check_description};
    use serde_json::json;

    use super::*;

    fn nas() -> Target {
        ("nas", json!({ "mac": "00:11:22:aa:bb:cc", "address": "192.168.1.20" })).into()
    }

    #[test]
    fn the_description_is_valid() {
        check_description::<Machines>();
    }

    #[test]
    fn a_packet_wakes_a_machine_and_the_command_puts_it_to_sleep() {
        let test = Harness::<Machines>::new();
        test.grant("sleep", Program::new().lives(Duration::ZERO, 0));
        assert_eq!(test.status(nas()).expect("known").status, Status::Stopped);
        let woken = test.start(nas()).expect("woken");
        assert_eq!(woken.addresses[0].host, "192.168.1.20");
        let packet = magic([0x00, 0x11, 0x22, 0xaa, 0xbb, 0xcc]);
        assert_eq!(test.datagrams(), [("lan".to_owned(), packet)]);
        assert_eq!(test.status(nas()).expect("known").status, Status::Running);
        let options = StopOptions::new(Duration::from_secs(10));
        assert_eq!(test.stop(nas(), options).expect("asleep").status, Status::Stopped);
    }

    #[test]
    fn an_invalid_address_is_named() {
        let settings = json!({ "mac": "nas", "address": "192.168.1.20" });
        let error = Harness::<Machines>::new().start(("nas", settings)).expect_err("no address");
        assert!(error.message().contains("\"nas\" is no MAC address"), "{error}");
    }
}
