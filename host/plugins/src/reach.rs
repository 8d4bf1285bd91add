//! Where a provider may say that its targets are. What it says there is where visitors are sent, so
//! it is a way out like any other and has a border.
//!
//! An address is judged twice by the same rules. When the provider reports it, a host that is
//! refused in any case is left out: [`Border::look_up`] goes before [`Border::check`]. When a
//! connection is about to be made, [`Border::check_dial`] judges the socket address that the kernel
//! is about to be given: port included, and after the last look-up of a name.

mod machine;
mod places;
mod special;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;

pub(crate) use self::places::Places;
use self::{
    places::Taken,
    special::{forms, is_link_local, is_link_local_network, is_near, never},
};
use crate::{
    bindings::types,
    grants::{toml_key, toml_string},
    settings::ProviderSettings,
};

/// Longest name of a host.
const NAME_BYTES: usize = 253;
/// Names in one answer; a target has one or two.
const ANSWER_NAMES: usize = 8;

/// One place, or many, where targets may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `10.0.0.0/8`, `127.0.0.1`
    Network(IpNet),
    /// `127.0.0.1:8006`, also if it is an endpoint of a provider.
    Socket(SocketAddr),
    /// `box.lan`, or `.lan` for every name that ends so.
    Name(String),
}

/// What is neither network nor name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a network such as 10.0.0.0/8, nor an address, with or without a port, nor the \
     name of a host"
)]
pub struct InvalidReach(String);

/// The border of one configured provider.
#[derive(Debug, Default)]
pub(crate) struct Border {
    provider: String,
    /// Private networks and the machine itself when absent.
    reach: Option<Vec<Reach>>,
    /// Names that the operator wrote in the provider's settings.
    named: BTreeSet<String>,
    /// Among them all providers' endpoints: they are not there for visitors.
    places: Arc<Places>,
}

/// Where a visitor would be sent.
struct Destination<'a> {
    /// As the provider reported it.
    host: Host<'a>,
    /// Where the host leads, as far as that is known.
    addresses: Vec<IpAddr>,
    /// Absent where the route's port will count.
    port: Option<u16>,
}

// === impl Reach ===

impl Reach {
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

    /// Whether this names link-local addresses on purpose, and this one among them.
    fn opens_link_local(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address) && is_link_local_network(network),
            Self::Socket(socket) => socket.ip() == address,
            Self::Name(_) => false,
        }
    }

    /// Whether this names an address of the router's machine on purpose: loopback, or exactly this
    /// one. A network to which the machine happens to belong does not.
    fn opens_machine(&self, address: IpAddr, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::Network(network), _) => {
                network.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST))
                    || network.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST))
                    || network.prefix_len() == network.max_prefix_len()
                        && forms(address).any(|form| network.contains(&form))
            }
            (Self::Socket(socket), _) => forms(address).any(|form| socket.ip() == form),
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

impl FromStr for Reach {
    type Err = InvalidReach;

    fn from_str(text: &str) -> Result<Self, InvalidReach> {
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
        Err(InvalidReach(text.chars().take(200).collect()))
    }
}

/// A host as an address names it.
#[derive(Clone, Copy)]
enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    fn parse(host: &'a str) -> Option<Self> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            // An IPv4 address in IPv6 clothes is judged by what it is.
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => is_name(host).then_some(Self::Name(host)),
        }
    }
}

fn parse(host: &str) -> Result<Host<'_>, String> {
    Host::parse(host).ok_or_else(|| "it is neither an address nor the name of a host".to_owned())
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('.')
}

// === impl Border ===

impl Border {
    pub(crate) fn new(settings: &ProviderSettings, places: Arc<Places>) -> Self {
        places.add(settings);
        let mut named = BTreeSet::new();
        name(&settings.settings, &mut named);
        Self {
            provider: settings.name.as_str().to_owned(),
            reach: settings.reach.clone(),
            named,
            places,
        }
    }

    /// Finds out where the names of an answer lead, and those of the endpoints that they could be.
    /// More names than any target has are left out.
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
        self.places.look_up(names, &ports).await;
    }

    /// Lets an address of a target pass, or says why not and what to do. `target` is what the
    /// operator wrote for the target: a JSON object.
    pub(crate) fn check(&self, host: &str, port: Option<u16>, target: &str) -> Result<(), String> {
        let at = match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let judged = parse(host).and_then(|host| {
            let addresses = self.places.addresses(&host);
            self.judge(&Destination { host, addresses, port }, target)
        });
        judged.map_err(|why| self.refusal("a target at", &at, &why))
    }

    /// Lets a connection be made, or says why not and what to do. `host` is what was reported for
    /// the target: this address, or the name that led to it.
    pub(crate) async fn check_dial(
        &self,
        host: &str,
        address: SocketAddr,
        target: &str,
    ) -> Result<(), String> {
        let port = address.port();
        self.places.look_up(BTreeSet::new(), &BTreeSet::from([port])).await;
        let ip = address.ip().to_canonical();
        let named = parse(host).map(|host| match host {
            Host::Address(_) => Host::Address(ip),
            name => name,
        });
        let at = match named {
            Ok(Host::Name(name)) => format!("{name}:{port}, which is {ip}"),
            _ => SocketAddr::new(ip, port).to_string(),
        };
        let judged = named.and_then(|host| {
            self.judge(&Destination { host, addresses: vec![ip], port: Some(port) }, target)
        });
        judged.map_err(|why| self.refusal("a connection to", &at, &why))
    }

    /// All rules, in the order in which one overrules the next. The error says why a destination is
    /// refused.
    fn judge(&self, to: &Destination<'_>, target: &str) -> Result<(), String> {
        if let Some(why) = to.addresses.iter().flat_map(|it| forms(*it)).find_map(never) {
            return Err(why);
        }
        let taken = to.port.and_then(|port| self.places.taken(&to.host, &to.addresses, port));
        match taken {
            Some(Taken::Listener(listener)) => {
                return Err(format!(
                    "the router itself listens at {listener}, so each request would come back to it"
                ));
            }
            Some(Taken::Endpoint(owner)) if !self.names_socket(to) => {
                return Err(format!(
                    "it is an endpoint of provider {owner:?}, which is not for visitors"
                ));
            }
            _ => {}
        }
        for address in &to.addresses {
            if forms(*address).any(|form| is_link_local(form) && !self.opens_link_local(form)) {
                return Err(format!(
                    "{address} is link-local, where clouds keep their metadata: {}",
                    self.line(&address.to_string())
                ));
            }
        }
        let inside = match &self.reach {
            Some(reach) => reach.iter().any(|place| place.contains(to)),
            None => match to.host {
                Host::Address(address) => is_near(address),
                Host::Name(name) => self.is_named(name, target),
            },
        };
        if !inside {
            return Err(self.line(&match &to.host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => (*name).to_owned(),
            }));
        }
        match to.addresses.iter().find(|it| !self.may_be_machine(**it, &to.host)) {
            Some(own) => Err(format!("{own} is this machine: {}", self.line(&own.to_string()))),
            None => Ok(()),
        }
    }

    /// Whether the address is another machine's, or this machine is within reach. A name that leads
    /// to loopback is no name of another machine: its server may have been made to say so.
    fn may_be_machine(&self, address: IpAddr, host: &Host<'_>) -> bool {
        match (&self.reach, host) {
            (Some(reach), host) => {
                reach.iter().any(|place| place.opens_machine(address, host))
                    || !self.places.is_local(address)
            }
            (None, Host::Address(_)) => true,
            (None, Host::Name(name)) => {
                machine::is_own_name(name) || !forms(address).any(|form| form.is_loopback())
            }
        }
    }

    fn opens_link_local(&self, address: IpAddr) -> bool {
        self.reach.iter().flatten().any(|place| place.opens_link_local(address))
    }

    /// Whether the operator has named exactly these sockets.
    fn names_socket(&self, to: &Destination<'_>) -> bool {
        let named = |address: &IpAddr| {
            self.reach.iter().flatten().any(|place| {
                matches!(place, Reach::Socket(socket)
                    if socket.ip() == *address && Some(socket.port()) == to.port)
            })
        };
        !to.addresses.is_empty() && to.addresses.iter().all(named)
    }

    fn refusal(&self, what: &str, at: &str, why: &str) -> String {
        let (provider, at) = (&self.provider, crate::fault::clean(at, 300));
        format!("provider {provider:?}: {what} {at} is refused: {why}")
    }

    /// The line of TOML that lets a place be within reach.
    fn line(&self, place: &str) -> String {
        let place = toml_string(place);
        let (key, table) = match self.reach {
            Some(_) => (format!("[..., {place}]"), ""),
            None => (format!("[{place}]"), " with every other place where its targets are"),
        };
        format!("add to [provider.{}]: reach = {key}{table}", toml_key(&self.provider))
    }

    /// The operator wrote this name.
    fn is_named(&self, host: &str, target: &str) -> bool {
        let mut named = BTreeSet::new();
        if let Ok(target) = serde_json::from_str(target) {
            name(&target, &mut named);
        }
        self.named.iter().chain(&named).any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Collects the texts of a JSON value that may be hosts: `box.lan`, `box.lan:80`.
fn name(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
            names.extend([host, text].into_iter().filter(|it| is_name(it)).map(str::to_owned));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| name(value, names)),
        serde_json::Value::Object(values) => values.values().for_each(|value| name(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
