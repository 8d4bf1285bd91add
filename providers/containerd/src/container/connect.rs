//! The container's network.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Result, clock, network, network::Attachment, warn};

use super::Target;
use crate::{
    observe,
    proto::Container,
    spec::{self, Wiring},
};

/// The container's interface in its network.
const INTERFACE: &str = "eth0";

/// Before a network is asked for the second time.
const PAUSE: Duration = Duration::from_millis(250);

// === impl Target ===

impl<'a> Target<'a> {
    /// Attaches its network namespace, writes the addresses down and returns them. The address that
    /// it had is asked for first.
    pub(super) fn attach(
        &self,
        container: &Container,
        name: &str,
        pid: u32,
    ) -> Result<Vec<String>> {
        let old = observe::last_address(container);
        let added = network::add(&self.attachment(name, pid, old)).or_else(|error| {
            if *error.code() == ErrorCode::Denied {
                return Err(error);
            }
            clock::sleep(PAUSE);
            network::add(&self.attachment(name, pid, None))
        });
        let addresses = added?;
        if addresses.is_empty() {
            return Err(Error::unavailable(format!("network {name:?} gave it no address")));
        }
        self.daemon.set_label(self.id, observe::ADDRESS, &observe::label(pid, &addresses))?;
        Ok(addresses)
    }

    /// The network that it is to be attached to; none for one that has its machine's.
    pub(super) fn network(&self, container: &Container) -> Result<Option<&'a str>> {
        match spec::wiring(container) {
            Wiring::Host => Ok(None),
            Wiring::Own => {
                let name = self.own.network.as_deref().or(self.settings.network.as_deref());
                name.map(Some).ok_or_else(|| {
                    Error::invalid_request(
                        "it has a network namespace of its own, and no network is named; grant one \
                         and name it by the setting `network`",
                    )
                })
            }
            Wiring::Foreign => Err(Error::unsupported(
                "its network is somebody else's: a namespace made elsewhere, or hooks, as nerdctl \
                 makes them; its address cannot be known",
            )),
        }
    }

    pub(super) fn attachment(&self, name: &str, pid: u32, address: Option<String>) -> Attachment {
        let namespace = match pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        };
        Attachment {
            network: name.to_owned(),
            // Neither of the two has two `-` in a row: no other pair makes the same name.
            container: format!("{}--{}", self.daemon.namespace, self.id),
            namespace,
            interface: INTERFACE.to_owned(),
            address,
        }
    }

    /// Gives the address back that this process had; whatever it has without one. What goes wrong is
    /// told and keeps nothing else from being done.
    pub(super) fn detach(&self, network: Option<&str>, pid: u32) {
        let Some(name) = network else { return };
        if let Err(error) = network::del(&self.attachment(name, pid, None)) {
            warn!("{}: {error}", self.attempt("detach"));
        }
    }
}
