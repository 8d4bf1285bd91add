//! Addresses of a running guest: those it reports, otherwise those in its configuration.

use std::net::IpAddr;

use drowse_provider_sdk::{Address, Error, ErrorCode};
use ipnet::IpNet;

use crate::{
    answer::{AgentAnswer, AgentInterface, AgentResult, IpAddress, LxcInterface},
    api::ApiError,
    config::{Config, without_prefix},
    guest::Guest,
    handle::Kind,
};

/// Name prefixes of interfaces that a guest creates for its own containers and machines. Used only
/// where no MAC address identifies the network cards.
const VIRTUAL_PREFIXES: [&str; 10] =
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "lxd"];

/// Result of looking for addresses.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Usable addresses, best first.
    Found(Vec<Address>),
    /// No address yet, with the reason.
    NotYet(String),
    /// No address with the current setup.
    Never(Error),
}

/// An interface inside a guest.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// In lower case.
    pub(crate) mac: Option<String>,
    pub(crate) ips: Vec<IpAddr>,
}

/// Why a guest does not report its interfaces.
enum Unreported {
    NotYet(String),
    Never(Error),
}

/// Addresses of a running guest.
pub(crate) fn of(guest: &Guest, config: &Config, networks: Option<&[IpNet]>) -> Lookup {
    let unreported = match interfaces(guest, config) {
        Ok(interfaces) => {
            let ips = choose(&interfaces, &config.macs(), networks);
            if !ips.is_empty() {
                return found(ips);
            }
            Unreported::NotYet("it reports no usable address yet".to_owned())
        }
        Err(unreported) => unreported,
    };
    let mut configured = config.addresses();
    configured.retain(|ip| is_usable(*ip, networks));
    match unreported {
        _ if !configured.is_empty() => found(configured),
        Unreported::NotYet(why) => Lookup::NotYet(why),
        Unreported::Never(error) => Lookup::Never(error),
    }
}

fn found(ips: Vec<IpAddr>) -> Lookup {
    Lookup::Found(ips.iter().map(|ip| Address::new(ip.to_string())).collect())
}

fn interfaces(guest: &Guest, config: &Config) -> Result<Vec<Interface>, Unreported> {
    let attempt = "get its addresses";
    let to_unreported = |refusal: ApiError| {
        let status = refusal.status();
        let error = refusal.into_error(attempt);
        // A missing grant is permanent, whether the platform or the router refuses.
        if matches!(status, Some(401 | 403 | 501)) || *error.code() == ErrorCode::Denied {
            let message = format!("{}; or set the workload's `address`", error.message());
            return Unreported::Never(Error::new(error.code().clone(), message));
        }
        Unreported::NotYet(error.message().to_owned())
    };
    match guest.kind {
        Kind::Lxc => {
            let all: Option<Vec<LxcInterface>> = guest.get("/interfaces").map_err(to_unreported)?;
            Ok(all.unwrap_or_default().into_iter().map(Interface::from).collect())
        }
        Kind::Qemu if !config.has_agent() => Err(Unreported::Never(Error::unavailable(format!(
            "{attempt}: no guest agent is configured: install qemu-guest-agent in it and run `qm set {} \
             --agent 1`, or set the workload's `address`",
            guest.vmid
        )))),
        Kind::Qemu => match guest.get::<AgentAnswer>("/agent/network-get-interfaces") {
            Ok(AgentAnswer { result: AgentResult::Interfaces(all) }) => {
                Ok(all.into_iter().map(Interface::from).collect())
            }
            Ok(AgentAnswer { result: AgentResult::Failed { error } }) => Err(Unreported::NotYet(
                format!("{attempt}: error of its guest agent: {}", error.desc),
            )),
            Err(refusal) => Err(to_unreported(refusal)),
        },
    }
}

/// Selects the usable addresses, best first: those of the guest's own cards in their order, IPv4
/// first. Without configured networks, interfaces without a card belong to programs inside such as
/// Docker, unless no interface can be matched to a card.
pub(crate) fn choose(
    interfaces: &[Interface],
    macs: &[String],
    networks: Option<&[IpNet]>,
) -> Vec<IpAddr> {
    let card = |it: &Interface| macs.iter().position(|mac| Some(mac) == it.mac.as_ref());
    let known = interfaces.iter().any(|it| it.name != "lo" && card(it).is_some());
    let is_candidate = |it: &&Interface| {
        let is_virtual = || VIRTUAL_PREFIXES.iter().any(|prefix| it.name.starts_with(prefix));
        it.name != "lo"
            && match (networks, known) {
                (Some(_), _) => true,
                (None, true) => card(it).is_some(),
                (None, false) => !is_virtual(),
            }
    };
    let mut chosen: Vec<&Interface> = interfaces.iter().filter(is_candidate).collect();
    chosen.sort_by_key(|it| card(it).unwrap_or(usize::MAX));
    let mut ips = Vec::new();
    for it in chosen {
        let mut own = it.ips.clone();
        own.retain(|ip| is_usable(*ip, networks) && !ips.contains(ip));
        own.sort_by_key(IpAddr::is_ipv6);
        ips.extend(own);
    }
    ips
}

/// Whether an address is usable by the router. A loopback address would lead back to the router, so
/// it counts only if the operator lists its network.
fn is_usable(ip: IpAddr, networks: Option<&[IpNet]>) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let never = link_local || ip.is_unspecified() || ip.is_multicast();
    !never
        && match networks {
            Some(networks) => networks.iter().any(|network| network.contains(&ip)),
            None => !ip.to_canonical().is_loopback(),
        }
}

// === impl Interface ===

impl From<LxcInterface> for Interface {
    fn from(it: LxcInterface) -> Self {
        let mut ips = parsed(&it.ip_addresses);
        if ips.is_empty() {
            ips.extend([it.inet, it.inet6].iter().flatten().filter_map(|ip| without_prefix(ip)));
        }
        let mac = it.hwaddr.or(it.hardware_address).map(|mac| mac.to_ascii_lowercase());
        Self { name: it.name, mac, ips }
    }
}

impl From<AgentInterface> for Interface {
    fn from(it: AgentInterface) -> Self {
        let mac = it.hardware_address.map(|mac| mac.to_ascii_lowercase());
        Self { name: it.name, mac, ips: parsed(&it.ip_addresses) }
    }
}

fn parsed(ips: &[IpAddress]) -> Vec<IpAddr> {
    ips.iter().filter_map(|it| without_prefix(&it.ip_address)).collect()
}
