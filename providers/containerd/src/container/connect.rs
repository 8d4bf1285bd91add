//! Network of a container.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Result, clock, network, network::Attachment, warn};

use super::Target;
use crate::{
    observe,
    proto::Container,
    spec::{self, NetworkMode},
};

/// Name of the container's interface in its network namespace.
const INTERFACE: &str = "eth0";

/// Pause before the second attempt to attach.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

// === impl Target ===

impl<'a> Target<'a> {
    /// Attaches the network namespace, stores the addresses in the label and returns them. Requests
    /// the previous address first.
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
            clock::sleep(RETRY_PAUSE);
            network::add(&self.attachment(name, pid, None))
        });
        let addresses = added?;
        if addresses.is_empty() {
            return Err(Error::unavailable(format!("network {name:?} assigned no address")));
        }
        self.daemon.set_label(self.id, observe::ADDRESS, &observe::label(pid, &addresses))?;
        Ok(addresses)
    }

    /// Network to attach the container to; None if it uses the host's network.
    pub(super) fn network(&self, container: &Container) -> Result<Option<&'a str>> {
        match spec::network_mode(container) {
            NetworkMode::Host => Ok(None),
            NetworkMode::Own => {
                let name = self.own.network.as_deref().or(self.settings.network.as_deref());
                name.map(Some).ok_or_else(|| {
                    Error::invalid_request(
                        "the container has its own network namespace, and no network is configured; \
                         grant one and set `network` to its name",
                    )
                })
            }
            NetworkMode::Foreign => Err(Error::unsupported(
                "its network is managed elsewhere: a namespace created elsewhere, or hooks such as \
                 nerdctl's; its address is unknown",
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
            // Neither part contains `--`, so the name is unique per pair.
            container: format!("{}--{}", self.daemon.namespace, self.id),
            namespace,
            interface: INTERFACE.to_owned(),
            address,
        }
    }

    /// Releases the addresses of this process; with pid 0 all addresses of the container. Errors
    /// are logged and do not stop the caller.
    pub(super) fn detach(&self, network: Option<&str>, pid: u32) {
        let Some(name) = network else { return };
        if let Err(error) = network::del(&self.attachment(name, pid, None)) {
            warn!("{}: {error}", self.attempt("detach"));
        }
    }
}
