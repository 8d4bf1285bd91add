//! Where a provider may say that its targets are. What it says there is where visitors are sent, so
//! it is a way out like any other and has a border.
//!
//! A name is judged by itself and by where it led when the provider said it: [`Border::look_up`]
//! goes before [`Border::check`].

mod places;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;

pub(crate) use self::places::Places;
use crate::{
    bindings::types,
    grants::{toml_key, toml_string},
    settings::ProviderSettings,
};

/// Longest name of a host.
const NAME_BYTES: usize = 253;
/// Names in one answer; a target has one or two.
const ANSWER_NAMES: usize = 8;
/// Where clouds tell secrets to whoever asks from inside, beside the link-local network.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// One place, or many, where targets may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `10.0.0.0/8`, `127.0.0.1`
    Network(IpNet),
    /// `box.lan`, or `.lan` for every name that ends so.
    Name(String),
}

/// What is neither network nor name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a network such as 10.0.0.0/8, nor an address, nor the name of a host")]
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

// === impl Reach ===

impl Reach {
    fn contains(&self, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Name(own), Host::Name(name)) => match own.strip_prefix('.') {
                Some(_) => name.len() > own.len() && ends_with(name, own),
                None => own.eq_ignore_ascii_case(name),
            },
            _ => false,
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
            return Ok(Self::Network(address.into()));
        }
        let letters = text.bytes().any(|byte| byte.is_ascii_alphabetic());
        if letters && is_name(text.strip_prefix('.').unwrap_or(text)) {
            return Ok(Self::Name(text.to_owned()));
        }
        Err(InvalidReach(text.chars().take(200).collect()))
    }
}

/// A host as an address names it.
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
        let at = crate::fault::clean(&at, 300);
        let refused = |why: &str| {
            let provider = &self.provider;
            format!("provider {provider:?}: a target at {at} is refused: {why}")
        };
        let host = Host::parse(host)
            .ok_or_else(|| refused("it is neither an address nor the name of a host"))?;
        if let Some(why) = self.places.addresses(&host).into_iter().find_map(never) {
            return Err(refused(why));
        }
        if let Some(owner) = port.and_then(|port| self.places.owner(&host, port)) {
            let why = format!("it is an endpoint of provider {owner:?}, which is not for visitors");
            return Err(refused(&why));
        }
        let inside = match &self.reach {
            Some(reach) => reach.iter().any(|place| place.contains(&host)),
            None => match host {
                Host::Address(address) => is_near(address),
                Host::Name(name) => self.is_named(name, target),
            },
        };
        if inside {
            return Ok(());
        }
        let place = toml_string(
            match &host {
                Host::Address(address) => address.to_string(),
                Host::Name(name) => (*name).to_owned(),
            }
            .as_str(),
        );
        let (key, table) = match self.reach {
            Some(_) => (format!("[..., {place}]"), ""),
            None => (format!("[{place}]"), " with every other place where its targets are"),
        };
        Err(refused(&format!(
            "add to [provider.{}]: reach = {key}{table}",
            toml_key(&self.provider)
        )))
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

/// Why no target can be at this address, whatever is configured.
fn never(address: IpAddr) -> Option<&'static str> {
    let (link_local, nowhere) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[0] == 0 || v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_unspecified()),
    };
    if link_local || METADATA.contains(&address) {
        return Some("clouds tell secrets there; no target is at such an address");
    }
    (nowhere || address.is_multicast()).then_some("no target can be at such an address")
}

/// Private networks and this machine.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is shared address space (RFC 6598), which overlay networks use.
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests;
