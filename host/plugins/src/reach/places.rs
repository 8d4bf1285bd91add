//! Which places are the providers' and the router's own, and where names lead.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{Host, machine, special::forms};
use crate::settings::{ProviderSettings, Transport};

/// A name is looked up anew after this time.
const FRESH: Duration = Duration::from_secs(10);
/// A name that is not found in this time counts as what it was before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Names that are remembered.
const NAMES: usize = 1024;

/// What all providers of a router know together.
#[derive(Debug)]
pub(crate) struct Places {
    known: Mutex<Known>,
    /// Whether an address is this machine's own.
    is_local: fn(IpAddr) -> bool,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: BTreeSet<Endpoint>,
    /// Where the router itself listens.
    listeners: Vec<SocketAddr>,
    names: BTreeMap<String, Found>,
}

/// An endpoint that is reached over the network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    provider: String,
    host: String,
    port: u16,
}

#[derive(Clone, Debug)]
struct Found {
    addresses: Vec<IpAddr>,
    at: Instant,
}

/// A socket that is not for visitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The router listens there.
    Listener(SocketAddr),
    /// An endpoint of this provider.
    Endpoint(String),
}

// === impl Places ===

impl Default for Places {
    fn default() -> Self {
        Self { known: Mutex::default(), is_local: machine::is_local }
    }
}

impl Places {
    #[cfg(test)]
    pub(super) fn on_machine(is_local: fn(IpAddr) -> bool) -> Self {
        Self { is_local, ..Self::default() }
    }

    /// Takes note of where the router listens, instead of what was noted before.
    pub(crate) fn set_listeners(&self, listeners: Vec<SocketAddr>) {
        self.known().listeners = listeners;
    }

    /// Whether an address is this machine's own, in any of its forms.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        forms(address).any(self.is_local)
    }

    /// Takes note of a provider's endpoints.
    pub(crate) fn add(&self, settings: &ProviderSettings) {
        let endpoint = |transport: &Transport| match transport {
            // Visitors are sent to TCP ports.
            Transport::Unix(_) | Transport::Udp { .. } => None,
            Transport::Http { host, port } | Transport::Https { host, port, .. } => {
                let provider = settings.name.as_str().to_owned();
                Some(Endpoint { provider, host: host.to_ascii_lowercase(), port: *port })
            }
        };
        let endpoints = settings.endpoints.values();
        let places = endpoints.flat_map(|grant| [Some(grant), grant.token.as_deref()]).flatten();
        self.known().endpoints.extend(places.filter_map(|grant| endpoint(&grant.transport)));
    }

    /// Looks up these names, and those of the endpoints at these ports, unless that was done a
    /// moment ago.
    pub(crate) async fn look_up(&self, mut names: BTreeSet<String>, ports: &BTreeSet<u16>) {
        {
            let known = self.known();
            let endpoints = known.endpoints.iter().filter(|own| ports.contains(&own.port));
            let hosts = endpoints.map(|own| own.host.as_str());
            names.extend(hosts.filter(|host| is_name(host)).map(str::to_owned));
            names.retain(|name| known.names.get(name).is_none_or(|it| it.at.elapsed() >= FRESH));
        }
        let looks = names.into_iter().map(|name| async {
            let look = tokio::net::lookup_host((name.as_str(), 0));
            let found = tokio::time::timeout(PATIENCE, look).await;
            let addresses = found.ok().and_then(Result::ok);
            (addresses.map(|all| all.map(|it| it.ip().to_canonical()).collect()), name)
        });
        for (addresses, name) in join_all(looks).await {
            self.known().learn(name, addresses);
        }
    }

    /// Where a host is, as far as that is known.
    pub(super) fn addresses(&self, host: &Host<'_>) -> Vec<IpAddr> {
        self.known().addresses(host)
    }

    /// Who has this port at one of these addresses, where `host` leads to, if a visitor must not
    /// come there. An endpoint on this machine counts as reachable by every address of this machine,
    /// as its service may listen on all of them; the router's own listeners are known exactly.
    pub(super) fn taken(&self, host: &Host<'_>, addresses: &[IpAddr], port: u16) -> Option<Taken> {
        let known = self.known();
        let listener = known.listeners.iter().filter(|own| own.port() == port).find(|own| {
            addresses.iter().any(|address| self.is_listening(own.ip().to_canonical(), *address))
        });
        if let Some(listener) = listener {
            return Some(Taken::Listener(*listener));
        }
        let is_there = |own: &&Endpoint| {
            if let Host::Name(name) = host
                && own.host.eq_ignore_ascii_case(name)
            {
                return true;
            }
            let its = Host::parse(&own.host).map(|host| known.addresses(&host)).unwrap_or_default();
            its.iter().any(|its| addresses.iter().any(|address| self.is_same(*its, *address)))
        };
        let mut endpoints = known.endpoints.iter().filter(|own| own.port == port);
        endpoints.find(is_there).map(|own| Taken::Endpoint(own.provider.clone()))
    }

    /// Whether two addresses may lead to the same service.
    fn is_same(&self, a: IpAddr, b: IpAddr) -> bool {
        forms(a).any(|a| forms(b).any(|b| a == b)) || self.is_local(a) && self.is_local(b)
    }

    /// Whether a socket that is bound to `own` accepts what is sent to `address`.
    fn is_listening(&self, own: IpAddr, address: IpAddr) -> bool {
        forms(address).any(|address| match own {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.is_ipv4() && (self.is_local)(address),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (self.is_local)(address),
            own => own == address,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_name(host: &str) -> bool {
    matches!(Host::parse(host), Some(Host::Name(_)))
}

// === impl Known ===

impl Known {
    /// A name that is not found now keeps where it led before.
    fn learn(&mut self, name: String, addresses: Option<Vec<IpAddr>>) {
        if self.names.len() >= NAMES && !self.names.contains_key(&name) {
            self.names.retain(|_, found| found.at.elapsed() < FRESH);
            if self.names.len() >= NAMES {
                self.names.pop_first();
            }
        }
        let found = self.names.entry(name);
        let found = found.or_insert_with(|| Found { addresses: Vec::new(), at: Instant::now() });
        found.addresses = addresses.unwrap_or_else(|| std::mem::take(&mut found.addresses));
        found.at = Instant::now();
    }

    fn addresses(&self, host: &Host<'_>) -> Vec<IpAddr> {
        let name = match host {
            Host::Address(address) => return vec![*address],
            Host::Name(name) => name.to_ascii_lowercase(),
        };
        match self.names.get(&name) {
            Some(found) => found.addresses.clone(),
            None if name == "localhost" => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            None => Vec::new(),
        }
    }
}
