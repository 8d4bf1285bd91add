//! Policy for the target addresses that a provider reports. Visitors' requests are sent there, so
//! reported addresses are restricted like any other outbound access.
//!
//! An address is checked twice by the same rules. When the provider reports it, an address that no
//! port or lookup could make acceptable is dropped ([`AddressPolicy::look_up`], then
//! [`AddressPolicy::check`]). When a connection is made, [`AddressPolicy::check_dial`] checks the
//! socket address that is passed to the kernel: port included, and after the last name resolution.

mod endpoint_index;
mod machine;
mod special;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;

pub(crate) use self::endpoint_index::EndpointIndex;
use self::{
    endpoint_index::Occupied,
    special::{
        address_forms, is_link_local, is_link_local_network, is_private_or_loopback, refused_always,
    },
};
use crate::{
    bindings::types,
    grants::{toml_key, toml_string},
    settings::ProviderSettings,
};

/// Maximum bytes of a host name.
const NAME_BYTES: usize = 253;
/// Maximum host names in one answer; a target has one or two.
const ANSWER_NAMES: usize = 8;

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

/// The address policy of one provider.
#[derive(Debug, Default)]
pub(crate) struct AddressPolicy {
    provider: String,
    /// Rules of the operator; by default private networks and this machine.
    reach: Option<Vec<AddressRule>>,
    /// Host names in the provider's settings.
    written_names: BTreeSet<String>,
    /// Endpoints of all providers, which are refused as targets.
    endpoint_index: Arc<EndpointIndex>,
}

/// An address that requests would be sent to.
struct Destination<'a> {
    /// Host as reported by the provider.
    host: Host<'a>,
    /// Resolved addresses of the host, as far as known.
    addresses: Vec<IpAddr>,
    /// Absent if the route's port applies.
    port: Option<u16>,
}

// === impl AddressRule ===

impl AddressRule {
    fn contains(&self, to: &Destination<'_>) -> bool {
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

    /// Whether this rule is limited to link-local addresses, including this one.
    fn allows_link_local(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address) && is_link_local_network(network),
            Self::Socket(socket) => socket.ip() == address,
            Self::Name(_) => false,
        }
    }

    /// Whether this rule explicitly allows an address of the router's machine: loopback, or exactly
    /// this address. A network that happens to contain the machine's address does not.
    fn allows_this_machine(&self, address: IpAddr, host: &Host<'_>) -> bool {
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
enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    fn parse(host: &'a str) -> Option<Self> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            // An IPv4-mapped IPv6 address is checked as IPv4.
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => is_name(host).then_some(Self::Name(host)),
        }
    }
}

fn parse(host: &str) -> Result<Host<'_>, String> {
    Host::parse(host).ok_or_else(|| "it is neither an address nor a host name".to_owned())
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('.')
}

// === impl AddressPolicy ===

impl AddressPolicy {
    pub(crate) fn new(settings: &ProviderSettings, endpoint_index: Arc<EndpointIndex>) -> Self {
        endpoint_index.add(settings);
        let mut written_names = BTreeSet::new();
        host_names(&settings.settings, &mut written_names);
        Self {
            provider: settings.name.as_str().to_owned(),
            reach: settings.reach.clone(),
            written_names,
            endpoint_index,
        }
    }

    /// Resolves the host names of an answer, and those of endpoints at the same ports. Names above
    /// [`ANSWER_NAMES`] are dropped.
    pub(crate) async fn look_up(&self, addresses: &mut Vec<types::Address>) {
        let mut names = BTreeSet::new();
        addresses.retain(|address| match Host::parse(&address.host) {
            Some(Host::Name(name)) => {
                names.len() < ANSWER_NAMES && {
                    names.insert(name.to_ascii_lowercase());
                    true
                }
            }
            _ => true,
        });
        let ports = addresses.iter().filter_map(|address| address.port).collect();
        self.endpoint_index.look_up(names, &ports).await;
    }

    /// Allows a reported address, or fails with the reason and what to do. `target` is the target's
    /// settings: a JSON object.
    pub(crate) fn check(&self, host: &str, port: Option<u16>, target: &str) -> Result<(), String> {
        let at = match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let evaluated = parse(host).and_then(|host| {
            let addresses = self.endpoint_index.addresses(&host);
            self.evaluate(&Destination { host, addresses, port }, target)
        });
        evaluated.map_err(|why| self.refusal("a target at", &at, &why))
    }

    /// Allows a connection, or fails with the reason and what to do. `host` is the reported host:
    /// this address, or the name that resolved to it.
    pub(crate) async fn check_dial(
        &self,
        host: &str,
        address: SocketAddr,
        target: &str,
    ) -> Result<(), String> {
        let port = address.port();
        self.endpoint_index.look_up(BTreeSet::new(), &BTreeSet::from([port])).await;
        let ip = address.ip().to_canonical();
        let parsed = parse(host).map(|host| match host {
            Host::Address(_) => Host::Address(ip),
            name => name,
        });
        let at = match parsed {
            Ok(Host::Name(name)) => format!("{name}:{port}, which is {ip}"),
            _ => SocketAddr::new(ip, port).to_string(),
        };
        let evaluated = parsed.and_then(|host| {
            self.evaluate(&Destination { host, addresses: vec![ip], port: Some(port) }, target)
        });
        evaluated.map_err(|why| self.refusal("a connection to", &at, &why))
    }

    /// Evaluates all rules in order of precedence. The error is the reason of the refusal.
    fn evaluate(&self, to: &Destination<'_>, target: &str) -> Result<(), String> {
        if let Some(why) =
            to.addresses.iter().flat_map(|it| address_forms(*it)).find_map(refused_always)
        {
            return Err(why);
        }
        let occupied =
            to.port.and_then(|port| self.endpoint_index.occupied(&to.host, &to.addresses, port));
        match occupied {
            Some(Occupied::Listener(listener)) => {
                return Err(format!(
                    "the router itself listens at {listener}, so requests would loop"
                ));
            }
            Some(Occupied::Endpoint(owner)) if !self.names_socket(to) => {
                return Err(format!(
                    "it is an endpoint of provider {owner:?}, which is not for visitors"
                ));
            }
            _ => {}
        }
        for address in &to.addresses {
            if address_forms(*address)
                .any(|form| is_link_local(form) && !self.allows_link_local(form))
            {
                return Err(format!(
                    "{address} is link-local, where clouds keep their metadata: {}",
                    self.line(&address.to_string())
                ));
            }
        }
        let allowed = match &self.reach {
            Some(reach) => reach.iter().any(|rule| rule.contains(to)),
            None => match to.host {
                Host::Address(address) => is_private_or_loopback(address),
                Host::Name(name) => self.is_written_name(name, target),
            },
        };
        if !allowed {
            return Err(self.line(&match &to.host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => (*name).to_owned(),
            }));
        }
        match to.addresses.iter().find(|it| !self.may_be_this_machine(**it, &to.host)) {
            Some(own) => Err(format!("{own} is this machine: {}", self.line(&own.to_string()))),
            None => Ok(()),
        }
    }

    /// Whether the address is another machine's, or the rules allow this machine. A name that
    /// resolves to loopback is refused, because its DNS server may be hostile.
    fn may_be_this_machine(&self, address: IpAddr, host: &Host<'_>) -> bool {
        match (&self.reach, host) {
            (Some(reach), host) => {
                reach.iter().any(|rule| rule.allows_this_machine(address, host))
                    || !self.endpoint_index.is_local(address)
            }
            (None, Host::Address(_)) => true,
            (None, Host::Name(name)) => {
                machine::is_own_name(name) || !address_forms(address).any(|form| form.is_loopback())
            }
        }
    }

    fn allows_link_local(&self, address: IpAddr) -> bool {
        self.reach.iter().flatten().any(|rule| rule.allows_link_local(address))
    }

    /// Whether rules name exactly these sockets.
    fn names_socket(&self, to: &Destination<'_>) -> bool {
        let is_listed = |address: &IpAddr| {
            self.reach.iter().flatten().any(|rule| {
                matches!(rule, AddressRule::Socket(socket)
                    if socket.ip() == *address && Some(socket.port()) == to.port)
            })
        };
        !to.addresses.is_empty() && to.addresses.iter().all(is_listed)
    }

    fn refusal(&self, what: &str, at: &str, why: &str) -> String {
        let (provider, at) = (&self.provider, crate::fault::sanitize(at, 300));
        format!("provider {provider:?}: {what} {at} is refused: {why}")
    }

    /// The TOML line that allows an address or name.
    fn line(&self, place: &str) -> String {
        let place = toml_string(place);
        let (key, table) = match self.reach {
            Some(_) => (format!("[..., {place}]"), ""),
            None => (format!("[{place}]"), " with every other place where its targets are"),
        };
        format!("add to [provider.{}]: allow-addresses = {key}{table}", toml_key(&self.provider))
    }

    /// Whether the settings contain this host name.
    fn is_written_name(&self, host: &str, target: &str) -> bool {
        let mut written_names = BTreeSet::new();
        if let Ok(target) = serde_json::from_str(target) {
            host_names(&target, &mut written_names);
        }
        self.written_names.iter().chain(&written_names).any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Collects the strings of a JSON value that may be hosts: `box.lan`, `box.lan:80`.
fn host_names(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
            names.extend([host, text].into_iter().filter(|it| is_name(it)).map(str::to_owned));
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| host_names(value, names))
        }
        serde_json::Value::Object(values) => {
            values.values().for_each(|value| host_names(value, names))
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
