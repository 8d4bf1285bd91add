//! Policy for the target addresses that a provider reports. Visitors' requests are sent there, so
//! reported addresses are restricted like any other outbound access.
//!
//! An address is checked twice by the same rules. When the provider reports it, an address that no
//! port or lookup could make acceptable is dropped ([`AddressPolicy::look_up`], then
//! [`AddressPolicy::check`]). When a connection is made, [`AddressPolicy::check_dial`] checks the
//! socket address that is passed to the kernel: port included, and after the last name resolution.

pub(crate) mod endpoint_index;
mod machine;
pub(crate) mod rule;
mod special;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use self::{
    endpoint_index::{EndpointIndex, Occupied},
    rule::{AddressRule, Destination, Host, is_name, parse},
    special::{address_forms, is_link_local, is_private_or_loopback, refused_always},
};
use crate::{
    grants::{toml_key, toml_string},
    settings::ProviderSettings,
};

/// Maximum host names in one answer; a target has one or two.
const ANSWER_NAMES: usize = 8;

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
    /// [`ANSWER_NAMES`] are dropped. `host_and_port` reads an address of the answer.
    pub(crate) async fn look_up<A>(
        &self,
        addresses: &mut Vec<A>,
        host_and_port: impl Fn(&A) -> (&str, Option<u16>),
    ) {
        let mut names = BTreeSet::new();
        addresses.retain(|address| match Host::parse(host_and_port(address).0) {
            Some(Host::Name(name)) => {
                names.len() < ANSWER_NAMES && {
                    names.insert(name.to_ascii_lowercase());
                    true
                }
            }
            _ => true,
        });
        let ports = addresses.iter().filter_map(|address| host_and_port(address).1).collect();
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

    /// Returns whether rules name exactly these sockets.
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
        let (provider, at) = (&self.provider, crate::text::sanitize(at, 300));
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

    /// Returns whether the settings contain this host name.
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
