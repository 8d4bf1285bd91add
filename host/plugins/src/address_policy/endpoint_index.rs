//! The endpoints of all providers, the router's own listeners, and the addresses that host names
//! resolve to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{machine, rule::Host, special::address_forms};
use crate::settings::{ProviderSettings, Transport};

/// Time until a name is resolved again.
const CACHE_TTL: Duration = Duration::from_secs(10);
/// Timeout of a lookup; after it the previous addresses apply.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum cached names.
const CACHED_NAMES: usize = 1024;

/// Sockets that are refused as targets, shared by all providers of the router.
#[derive(Debug)]
pub(crate) struct EndpointIndex {
    known: Mutex<Known>,
    /// Whether an address is local; replaced in tests.
    is_local: fn(IpAddr) -> bool,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: BTreeSet<Endpoint>,
    /// The router's own listeners.
    listeners: Vec<SocketAddr>,
    names: BTreeMap<String, Found>,
}

/// An endpoint that is reached over TCP.
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

/// A socket that visitors' requests must not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Occupied {
    /// A listener of the router.
    Listener(SocketAddr),
    /// An endpoint of this provider.
    Endpoint(String),
}

// === impl EndpointIndex ===

impl Default for EndpointIndex {
    fn default() -> Self {
        Self { known: Mutex::default(), is_local: machine::is_local }
    }
}

impl EndpointIndex {
    #[cfg(test)]
    pub(super) fn on_machine(is_local: fn(IpAddr) -> bool) -> Self {
        Self { is_local, ..Self::default() }
    }

    /// Replaces the router's listeners.
    pub(crate) fn set_listeners(&self, listeners: Vec<SocketAddr>) {
        self.known().listeners = listeners;
    }

    /// Returns whether an address is local, in any of its forms.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        address_forms(address).any(self.is_local)
    }

    /// Adds a provider's endpoints.
    pub(crate) fn add(&self, settings: &ProviderSettings) {
        let endpoint = |transport: &Transport| match transport {
            // Targets have TCP ports.
            Transport::Unix(_) | Transport::Udp { .. } => None,
            Transport::Http { host, port } | Transport::Https { host, port, .. } => {
                let provider = settings.name.as_str().to_owned();
                Some(Endpoint { provider, host: host.to_ascii_lowercase(), port: *port })
            }
        };
        let endpoints = settings.endpoints.values();
        let endpoints = endpoints.flat_map(|grant| [Some(grant), grant.token.as_deref()]).flatten();
        self.known().endpoints.extend(endpoints.filter_map(|grant| endpoint(&grant.transport)));
    }

    /// Resolves these names and those of endpoints at these ports, unless they are cached.
    pub(crate) async fn look_up(&self, mut names: BTreeSet<String>, ports: &BTreeSet<u16>) {
        {
            let known = self.known();
            let endpoints = known.endpoints.iter().filter(|own| ports.contains(&own.port));
            let hosts = endpoints.map(|own| own.host.as_str());
            names.extend(hosts.filter(|host| is_name(host)).map(str::to_owned));
            names
                .retain(|name| known.names.get(name).is_none_or(|it| it.at.elapsed() >= CACHE_TTL));
        }
        let looks = names.into_iter().map(|name| async {
            let look = tokio::net::lookup_host((name.as_str(), 0));
            let found = tokio::time::timeout(LOOKUP_TIMEOUT, look).await;
            let addresses = found.ok().and_then(Result::ok);
            (addresses.map(|all| all.map(|it| it.ip().to_canonical()).collect()), name)
        });
        for (addresses, name) in join_all(looks).await {
            self.known().learn(name, addresses);
        }
    }

    /// Known addresses of a host.
    pub(super) fn addresses(&self, host: &Host<'_>) -> Vec<IpAddr> {
        self.known().addresses(host)
    }

    /// The listener or endpoint at this port of one of these addresses, which `host` resolves to.
    /// An endpoint on this machine matches every local address, because its service may listen on
    /// all of them; the router's own listeners are matched exactly.
    pub(super) fn occupied(
        &self,
        host: &Host<'_>,
        addresses: &[IpAddr],
        port: u16,
    ) -> Option<Occupied> {
        let known = self.known();
        let listener = known.listeners.iter().filter(|own| own.port() == port).find(|own| {
            addresses.iter().any(|address| self.is_listening(own.ip().to_canonical(), *address))
        });
        if let Some(listener) = listener {
            return Some(Occupied::Listener(*listener));
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
        endpoints.find(is_there).map(|own| Occupied::Endpoint(own.provider.clone()))
    }

    /// Returns whether two addresses may reach the same service.
    fn is_same(&self, a: IpAddr, b: IpAddr) -> bool {
        address_forms(a).any(|a| address_forms(b).any(|b| a == b))
            || self.is_local(a) && self.is_local(b)
    }

    /// Returns whether a socket bound to `own` accepts connections to `address`.
    fn is_listening(&self, own: IpAddr, address: IpAddr) -> bool {
        address_forms(address).any(|address| match own {
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
    /// Caches a lookup. A failed one keeps the previous addresses.
    fn learn(&mut self, name: String, addresses: Option<Vec<IpAddr>>) {
        if self.names.len() >= CACHED_NAMES && !self.names.contains_key(&name) {
            self.names.retain(|_, found| found.at.elapsed() < CACHE_TTL);
            if self.names.len() >= CACHED_NAMES {
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
