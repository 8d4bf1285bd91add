//! Where a running guest can be reached: what it says itself, else what is written down.

use std::net::IpAddr;

use drowse_provider_sdk::{Address, Error, ErrorCode};
use ipnet::IpNet;

use crate::{
    answer::{AgentAnswer, AgentInterface, AgentResult, IpAddress, LxcInterface},
    api::Refusal,
    config::{Config, without_prefix},
    guest::Guest,
    handle::Kind,
};

/// Networks that a guest makes for what runs in it, by the beginnings of their names. Only looked at
/// where hardware addresses do not tell.
const INNER: [&str; 10] =
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "lxd"];

/// Whether it can be reached.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Best first.
    At(Vec<Address>),
    /// Not yet, with the reason.
    NotYet(String),
    /// Not as it is set up.
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

/// Why a guest does not tell its interfaces.
enum Silent {
    NotYet(String),
    Never(Error),
}

/// Where a running guest can be reached.
pub(crate) fn of(guest: &Guest, config: &Config, networks: Option<&[IpNet]>) -> Reach {
    let silent = match interfaces(guest, config) {
        Ok(interfaces) => {
            let ips = choose(&interfaces, &config.macs(), networks);
            if !ips.is_empty() {
                return at(ips);
            }
            Silent::NotYet("it tells no address that can be used yet".to_owned())
        }
        Err(silent) => silent,
    };
    let mut written = config.addresses();
    written.retain(|ip| is_usable(*ip, networks));
    match silent {
        _ if !written.is_empty() => at(written),
        Silent::NotYet(why) => Reach::NotYet(why),
        Silent::Never(error) => Reach::Never(error),
    }
}

fn at(ips: Vec<IpAddr>) -> Reach {
    Reach::At(ips.iter().map(|ip| Address::new(ip.to_string())).collect())
}

fn interfaces(guest: &Guest, config: &Config) -> Result<Vec<Interface>, Silent> {
    let attempt = "ask it for its addresses";
    let told = |refusal: Refusal| {
        let status = refusal.status();
        let error = refusal.into_error(attempt);
        // What is not granted stays so, whoever says it: the platform, or the router itself.
        if matches!(status, Some(401 | 403 | 501)) || *error.code() == ErrorCode::Denied {
            let told = format!("{}; or write the workload's `address`", error.message());
            return Silent::Never(Error::new(error.code().clone(), told));
        }
        Silent::NotYet(error.message().to_owned())
    };
    match guest.kind {
        Kind::Lxc => {
            let all: Option<Vec<LxcInterface>> = guest.get("/interfaces").map_err(told)?;
            Ok(all.unwrap_or_default().into_iter().map(Interface::from).collect())
        }
        Kind::Qemu if !config.has_agent() => Err(Silent::Never(Error::unavailable(format!(
            "{attempt}: no guest agent is set up: install qemu-guest-agent in it and set `qm set {} \
             --agent 1`, or write the workload's `address`",
            guest.vmid
        )))),
        Kind::Qemu => match guest.get::<AgentAnswer>("/agent/network-get-interfaces") {
            Ok(AgentAnswer { result: AgentResult::Interfaces(all) }) => {
                Ok(all.into_iter().map(Interface::from).collect())
            }
            Ok(AgentAnswer { result: AgentResult::Failed { error } }) => {
                Err(Silent::NotYet(format!("{attempt}: its guest agent says: {}", error.desc)))
            }
            Err(refusal) => Err(told(refusal)),
        },
    }
}

/// The addresses that count, best first: those of the guest's own cards in their order, IPv4 first.
/// Without a word on networks, interfaces that no card stands behind are those of programs inside,
/// such as Docker, unless no interface can be told by its card at all.
pub(crate) fn choose(
    interfaces: &[Interface],
    macs: &[String],
    networks: Option<&[IpNet]>,
) -> Vec<IpAddr> {
    let card = |it: &Interface| macs.iter().position(|mac| Some(mac) == it.mac.as_ref());
    let known = interfaces.iter().any(|it| it.name != "lo" && card(it).is_some());
    let counts = |it: &&Interface| {
        let inner = || INNER.iter().any(|prefix| it.name.starts_with(prefix));
        it.name != "lo"
            && match (networks, known) {
                (Some(_), _) => true,
                (None, true) => card(it).is_some(),
                (None, false) => !inner(),
            }
    };
    let mut chosen: Vec<&Interface> = interfaces.iter().filter(counts).collect();
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

/// Loopback addresses are those of the router to whoever is sent there: they count only where the
/// operator names them.
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
