//! Rules that allow target addresses, and parsed hosts.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;

use super::special::{address_forms, is_link_local_network};

/// Maximum bytes of a host name.
const NAME_BYTES: usize = 253;
/// A rule that allows target addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRule {
    /// `10.0.0.0/8`, `127.0.0.1`
    Network(IpNet),
    /// `127.0.0.1:8006`, even if it is an endpoint of a provider.
    Socket(SocketAddr),
    /// `box.lan`, or `.lan` for every name with that suffix.
    Name(String),
}

/// Text that is not an address rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a network such as 10.0.0.0/8, nor an address, with or without a port, nor a \
     host name"
)]
pub struct InvalidAddressRule(String);

/// An address that requests would be sent to.
pub(super) struct Destination<'a> {
    /// Host as reported by the provider.
    pub(super) host: Host<'a>,
    /// Resolved addresses of the host, as far as known.
    pub(super) addresses: Vec<IpAddr>,
    /// Absent if the route's port applies.
    pub(super) port: Option<u16>,
}

// === impl AddressRule ===

impl AddressRule {
    pub(super) fn contains(&self, to: &Destination<'_>) -> bool {
        match (self, &to.host) {
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Socket(socket), Host::Address(address)) => {
                socket.ip() == *address && to.port.is_none_or(|port| port == socket.port())
            }
            (Self::Name(own), Host::Name(name)) => match own.strip_prefix('.') {
                Some(_) => name.len() > own.len() && ends_with(name, own),
                None => own.eq_ignore_ascii_case(name),
            },
            _ => false,
        }
    }

    /// Returns whether this rule is limited to link-local addresses, including this one.
    pub(super) fn allows_link_local(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address) && is_link_local_network(network),
            Self::Socket(socket) => socket.ip() == address,
            Self::Name(_) => false,
        }
    }

    /// Whether this rule explicitly allows an address of the router's machine: loopback, or exactly
    /// this address. A network that happens to contain the machine's address does not.
    pub(super) fn allows_this_machine(&self, address: IpAddr, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::Network(network), _) => {
                network.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST))
                    || network.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST))
                    || network.prefix_len() == network.max_prefix_len()
                        && address_forms(address).any(|form| network.contains(&form))
            }
            (Self::Socket(socket), _) => address_forms(address).any(|form| socket.ip() == form),
            (Self::Name(own), Host::Name(name)) => {
                own.eq_ignore_ascii_case("localhost") && own.eq_ignore_ascii_case(name)
            }
            (Self::Name(_), Host::Address(_)) => false,
        }
    }
}

fn ends_with(name: &str, end: &str) -> bool {
    name.get(name.len() - end.len()..).is_some_and(|it| it.eq_ignore_ascii_case(end))
}

impl FromStr for AddressRule {
    type Err = InvalidAddressRule;

    fn from_str(text: &str) -> Result<Self, InvalidAddressRule> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Socket(SocketAddr::new(socket.ip().to_canonical(), socket.port())));
        }
        let letters = text.bytes().any(|byte| byte.is_ascii_alphabetic());
        if letters && is_name(text.strip_prefix('.').unwrap_or(text)) {
            return Ok(Self::Name(text.to_owned()));
        }
        Err(InvalidAddressRule(text.chars().take(200).collect()))
    }
}

/// A parsed host.
#[derive(Clone, Copy)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    pub(super) fn parse(host: &'a str) -> Option<Self> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            // An IPv4-mapped IPv6 address is checked as IPv4.
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => is_name(host).then_some(Self::Name(host)),
        }
    }
}

pub(super) fn parse(host: &str) -> Result<Host<'_>, String> {
    Host::parse(host).ok_or_else(|| "it is neither an address nor a host name".to_owned())
}

pub(super) fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('.')
}
