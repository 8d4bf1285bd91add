//! Addresses of a running container.

use std::collections::BTreeMap;

use drowse_provider_sdk::Address;

use crate::{
    model::{ItemPort, Network, PortBinding},
    settings::{AddressKind, AddressRules},
};

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Published {
    /// `false` (TCP) sorts first.
    udp: bool,
    container_port: u16,
    /// Host IP; empty for all interfaces (Podman).
    ip: String,
    host_port: u16,
}

/// Addresses of a running container, best first.
pub(crate) fn of(
    network_mode: &str,
    networks: &BTreeMap<String, Network>,
    published: &[Published],
    rules: AddressRules<'_>,
) -> Vec<Address> {
    if network_mode == "host" {
        // The container listens on the host itself; no port is published.
        return vec![Address::new(rules.host.unwrap_or("127.0.0.1"))];
    }
    let mut addresses = Vec::new();
    if rules.kind != AddressKind::Published {
        addresses.extend(container_addresses(networks, rules.network));
    }
    if rules.kind != AddressKind::Container {
        for address in published_addresses(published, rules.host) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

/// The container's container_addresses addresses, on which every port is reachable.
fn container_addresses(
    networks: &BTreeMap<String, Network>,
    preferred: Option<&str>,
) -> Vec<Address> {
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

fn published_addresses(published: &[Published], host: Option<&str>) -> Vec<Address> {
    let mut sorted = published.to_vec();
    sorted.sort();
    sorted.into_iter().map(|port| port.address(host)).collect()
}

// === impl Published ===

impl Published {
    /// Ports of `GET /containers/{id}/json`.
    pub(crate) fn inspected(ports: &BTreeMap<String, Option<Vec<PortBinding>>>) -> Vec<Self> {
        let mut published = Vec::new();
        for (name, bindings) in ports {
            let (container_port, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
            let Ok(container_port) = container_port.parse() else { continue };
            for binding in bindings.iter().flatten() {
                if let Ok(host_port) = binding.host_port.parse::<u16>() {
                    published.extend(Self::new(
                        protocol,
                        container_port,
                        &binding.host_ip,
                        host_port,
                    ));
                }
            }
        }
        published
    }

    /// Ports of an item of `GET /containers/json`.
    pub(crate) fn listed(ports: &[ItemPort]) -> Vec<Self> {
        let published = |port: &ItemPort| {
            Self::new(&port.protocol, port.private_port, &port.ip, port.public_port?)
        };
        ports.iter().filter_map(published).collect()
    }

    fn new(protocol: &str, container_port: u16, ip: &str, host_port: u16) -> Option<Self> {
        let udp = match protocol {
            "tcp" | "" => false,
            "udp" => true,
            _ => return None,
        };
        (host_port != 0).then(|| Self { udp, container_port, ip: ip.to_owned(), host_port })
    }

    fn address(&self, host: Option<&str>) -> Address {
        let host = match (self.ip.as_str(), host) {
            ("" | "0.0.0.0" | "::", Some(host)) => host,
            ("" | "0.0.0.0", None) => "127.0.0.1",
            // Published on all IPv6 interfaces: the engine's proxy does not answer on IPv4 there.
            ("::", None) => "::1",
            (ip, _) => ip,
        };
        let address =
            Address::new(host).with_port(self.host_port).with_target_port(self.container_port);
        if self.udp { address.with_attribute("protocol", "udp") } else { address }
    }
}
