//! Where a running container can be reached.

use std::collections::BTreeMap;

use drowse_provider_sdk::Address;

use crate::{
    model::{ItemPort, Network, PortBinding},
    settings::{AddressKind, Reach},
};

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Published {
    /// TCP comes first.
    udp: bool,
    inner: u16,
    /// Empty for all interfaces (Podman).
    ip: String,
    outer: u16,
}

/// The addresses by which a running container is reached, best first.
pub(crate) fn of(
    network_mode: &str,
    networks: &BTreeMap<String, Network>,
    published: &[Published],
    reach: Reach<'_>,
) -> Vec<Address> {
    if network_mode == "host" {
        // It listens on the machine itself; there is nothing to publish.
        return vec![Address::new(reach.host.unwrap_or("127.0.0.1"))];
    }
    let mut addresses = Vec::new();
    if reach.kind != AddressKind::Published {
        addresses.extend(own(networks, reach.network));
    }
    if reach.kind != AddressKind::Container {
        for address in outside(published, reach.host) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

/// The container's own addresses: every port is reachable there.
fn own(networks: &BTreeMap<String, Network>, preferred: Option<&str>) -> Vec<Address> {
    let mut named: Vec<(&String, &Network)> = networks.iter().collect();
    named.sort_by_key(|(name, _)| preferred != Some(name.as_str()));
    let mut addresses = Vec::new();
    for (name, network) in named {
        for ip in [&network.ip_address, &network.ipv6_address] {
            if !ip.is_empty() {
                addresses.push(Address::new(ip).with_attribute("network", name));
            }
        }
    }
    addresses
}

fn outside(published: &[Published], host: Option<&str>) -> Vec<Address> {
    let mut sorted = published.to_vec();
    sorted.sort();
    sorted.into_iter().map(|port| port.address(host)).collect()
}

// === impl Published ===

impl Published {
    /// The ports of `GET /containers/{id}/json`.
    pub(crate) fn inspected(ports: &BTreeMap<String, Option<Vec<PortBinding>>>) -> Vec<Self> {
        let mut published = Vec::new();
        for (name, bindings) in ports {
            let (inner, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
            let Ok(inner) = inner.parse() else { continue };
            for binding in bindings.iter().flatten() {
                if let Ok(outer) = binding.host_port.parse::<u16>() {
                    published.extend(Self::new(protocol, inner, &binding.host_ip, outer));
                }
            }
        }
        published
    }

    /// The ports of an item of `GET /containers/json`.
    pub(crate) fn listed(ports: &[ItemPort]) -> Vec<Self> {
        let published = |port: &ItemPort| {
            Self::new(&port.protocol, port.private_port, &port.ip, port.public_port?)
        };
        ports.iter().filter_map(published).collect()
    }

    fn new(protocol: &str, inner: u16, ip: &str, outer: u16) -> Option<Self> {
        let udp = match protocol {
            "tcp" | "" => false,
            "udp" => true,
            _ => return None,
        };
        (outer != 0).then(|| Self { udp, inner, ip: ip.to_owned(), outer })
    }

    fn address(&self, host: Option<&str>) -> Address {
        let host = match (self.ip.as_str(), host) {
            ("" | "0.0.0.0" | "::", Some(host)) => host,
            ("" | "0.0.0.0", None) => "127.0.0.1",
            // Published on all IPv6 interfaces: the engine's proxy does not answer by IPv4 there.
            ("::", None) => "::1",
            (ip, _) => ip,
        };
        let address = Address::new(host).with_port(self.outer).with_target_port(self.inner);
        if self.udp { address.with_attribute("protocol", "udp") } else { address }
    }
}
