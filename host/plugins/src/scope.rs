//! What the instances of one configured provider share.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use drowse_core::Ability;
use tokio::sync::Semaphore;

use crate::{
    capabilities::memo::Memo,
    command::{Processes, Starter},
    dylib::Threads,
    endpoint::{Datagrams, Endpoint, Place},
    fault::Fault,
    grants::{Asked, Called, Policy, Rule, toml_key, toml_string},
    guest_memory::{GuestMemory, Share},
    health::Health,
    info::EndpointWish,
    load::House,
    meter::Account,
    network::Networks,
    notes::Notes,
    reach::Border,
    said::Said,
    settings::{Limits, ProviderSettings, Transport},
};

/// Responses that all instances of a provider hold at a time; more wait.
const RESPONSES: usize = 64;

/// What lasts as long as the provider's configuration, whatever plugin serves it.
pub(crate) struct Tenant {
    /// The configured name.
    pub(crate) provider: String,
    pub(crate) limits: Limits,
    /// Those that take HTTP.
    endpoints: BTreeMap<String, Endpoint>,
    /// Those that take datagrams.
    datagrams: BTreeMap<String, Datagrams>,
    /// The operator's rules by endpoint; absent where the plugin's wishes hold.
    rules: BTreeMap<String, Option<Vec<Rule>>>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) networks: Networks,
    pub(crate) notes: Arc<Notes>,
    pub(crate) said: Arc<Said>,
    pub(crate) health: Health,
    /// Where its targets may be.
    pub(crate) border: Border,
    pub(crate) responses: Arc<Semaphore>,
    /// Where its calls run when its plugin is a dynamic library.
    pub(crate) threads: Threads,
    /// The CPU time of its calls.
    pub(crate) account: Arc<Account>,
    /// Its part of the memory of all guests.
    pub(crate) memory: Arc<Share>,
    started: Instant,
}

/// What one plugin may do as this provider.
pub(crate) struct Scope {
    pub(crate) tenant: Arc<Tenant>,
    policies: BTreeMap<String, Policy>,
    suggested: BTreeMap<String, String>,
    pub(crate) memo: Memo,
}

// === impl Tenant ===

impl Tenant {
    /// The lasting part of a provider. The error names the rule that cannot be understood.
    pub(crate) fn new(settings: &ProviderSettings, house: &House) -> Result<Self, String> {
        let name = settings.name.as_str();
        let mut endpoints = BTreeMap::new();
        let mut datagrams = BTreeMap::new();
        let mut rules = BTreeMap::new();
        for (endpoint, grant) in &settings.endpoints {
            if let Transport::Udp { host, port } = &grant.transport {
                let place = Datagrams::new(endpoint, host, *port, grant.timeout);
                datagrams.insert(endpoint.clone(), place);
                continue;
            }
            let granted =
                grant.rules.as_ref().map(|rules| parse(rules)).transpose().map_err(|flaw| {
                    format!(
                        "[provider.{}]: endpoint.{}.rules: {flaw}",
                        toml_key(name),
                        toml_key(endpoint)
                    )
                })?;
            rules.insert(endpoint.clone(), granted);
            endpoints.insert(endpoint.clone(), Endpoint::new(endpoint, grant));
        }
        let notes = Arc::new(Notes::new(name, settings.limits.log_lines));
        Ok(Self {
            provider: name.to_owned(),
            limits: settings.limits.clone(),
            endpoints,
            datagrams,
            rules,
            processes: Processes::new(
                name,
                settings.commands.clone(),
                house.starter.clone(),
                notes.clone(),
                house.records.clone(),
            ),
            networks: Networks::new(name, settings.networks.clone()),
            notes,
            said: Arc::default(),
            health: Health::default(),
            border: Border::new(settings, house.places.clone()),
            responses: Arc::new(Semaphore::new(RESPONSES)),
            threads: Threads::new(settings.limits.calls),
            account: Arc::new(Account::new(settings.limits.cpu)),
            memory: house.memory.share(),
            started: Instant::now(),
        })
    }

    /// Nobody: nothing is granted. For `describe`, which belongs to no provider.
    pub(crate) fn nobody(plugin: &str) -> Self {
        let limits = Limits::default();
        let notes = Arc::new(Notes::new(plugin, limits.log_lines));
        Self {
            provider: plugin.to_owned(),
            endpoints: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            rules: BTreeMap::new(),
            processes: Processes::new(
                plugin,
                BTreeMap::new(),
                Starter::default(),
                notes.clone(),
                Arc::default(),
            ),
            networks: Networks::new(plugin, BTreeMap::new()),
            notes,
            said: Arc::default(),
            health: Health::default(),
            border: Border::default(),
            responses: Arc::new(Semaphore::new(RESPONSES)),
            threads: Threads::new(limits.calls),
            account: Arc::new(Account::new(limits.cpu)),
            memory: Arc::new(GuestMemory::default()).share(),
            started: Instant::now(),
            limits,
        }
    }

    /// Notes that something was refused, for the operator.
    pub(crate) fn refused(&self, doing: &str, refusal: &str) {
        if self.notes.repeated(doing, refusal) {
            self.health.note(format!("{doing}: {refusal}"));
        }
    }

    /// Notes that an instance broke, for the operator.
    pub(crate) fn broke(&self, doing: &str, fault: &Fault) {
        self.health.fault(format!("{doing}: the plugin {fault}"));
        self.notes.repeated(doing, &format!("plugin instance broke: {fault}"));
    }

    /// The granted endpoint of this name.
    pub(crate) fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// Where its endpoints are.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        let endpoints = self.endpoints.values().map(Endpoint::place);
        endpoints.chain(self.datagrams.values().map(Datagrams::place))
    }

    /// Nanoseconds since this provider was configured.
    pub(crate) fn monotonic(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn parse(rules: &[String]) -> Result<Vec<Rule>, crate::grants::InvalidRule> {
    rules.iter().map(|rule| rule.parse()).collect()
}

/// Nanoseconds since the epoch.
pub(crate) fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Scope ===

impl Scope {
    /// What a plugin with these wishes may do as this provider.
    pub(crate) fn new(tenant: Arc<Tenant>, wishes: &[EndpointWish]) -> Self {
        let mut policies = BTreeMap::new();
        for (endpoint, granted) in &tenant.rules {
            let wish = wishes.iter().find(|wish| wish.name == *endpoint);
            // Wishes were checked when the plugin was loaded.
            let wished = wish.map(|wish| parse(&wish.rules).unwrap_or_default());
            policies.insert(endpoint.clone(), Policy::new(granted.clone(), wished));
        }
        let suggested = wishes
            .iter()
            .filter_map(|wish| Some((wish.name.clone(), wish.suggested_url.clone()?)))
            .collect();
        Self { tenant, policies, suggested, memo: Memo::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.tenant.limits
    }

    /// The endpoint, if the request may go there; else the refusal with the line to add.
    pub(crate) fn endpoint(&self, asked: &Asked<'_>) -> Result<&Endpoint, String> {
        let (endpoint, policy) = self.asked_for(asked.endpoint)?;
        policy.check(asked).map(|()| endpoint)
    }

    /// The endpoint, if the gRPC call may go there; else the refusal with the line to add.
    pub(crate) fn call(&self, called: &Called<'_>) -> Result<&Endpoint, String> {
        let (endpoint, policy) = self.asked_for(called.endpoint)?;
        policy.check_call(called).map(|()| endpoint)
    }

    fn asked_for(&self, name: &str) -> Result<(&Endpoint, &Policy), String> {
        let found = self.tenant.endpoints.get(name).zip(self.policies.get(name));
        found.ok_or_else(|| match self.tenant.datagrams.contains_key(name) {
            true => self.other_kind(name, "datagrams, not http", "https"),
            false => self.no_endpoint(name, "https"),
        })
    }

    /// The endpoint, if datagrams may go there; else the refusal with the line to add.
    pub(crate) fn datagrams(&self, endpoint: &str) -> Result<&Datagrams, String> {
        self.tenant.datagrams.get(endpoint).ok_or_else(|| {
            match self.tenant.endpoints.contains_key(endpoint) {
                true => self.other_kind(endpoint, "http, not datagrams", "udp"),
                false => self.no_endpoint(endpoint, "udp"),
            }
        })
    }

    /// The refusal that calls of this ability would meet: an optional endpoint of the ability's
    /// name is wished for and not granted.
    pub(crate) fn lacks(&self, ability: Ability, wishes: &[EndpointWish]) -> Option<String> {
        let wish = wishes.iter().find(|wish| wish.optional && wish.name == ability.as_str())?;
        let tenant = &self.tenant;
        let granted =
            tenant.endpoints.contains_key(&wish.name) || tenant.datagrams.contains_key(&wish.name);
        let scheme = if wish.wants_datagrams() { "udp" } else { "https" };
        (!granted).then(|| self.no_endpoint(&wish.name, scheme))
    }

    fn no_endpoint(&self, endpoint: &str, scheme: &str) -> String {
        let provider = &self.tenant.provider;
        let endpoint = crate::fault::clean(endpoint, 128);
        format!(
            "provider {provider:?}: endpoint {endpoint:?} is not granted: add to [provider.{}]: \
             endpoint.{} = {{ url = {} }}",
            toml_key(provider),
            toml_key(&endpoint),
            self.url(&endpoint, scheme),
        )
    }

    /// The endpoint is granted for something else.
    fn other_kind(&self, endpoint: &str, takes: &str, scheme: &str) -> String {
        let provider = &self.tenant.provider;
        format!(
            "provider {provider:?}: endpoint {endpoint:?} takes {takes}, by its url: change in \
             [provider.{}]: endpoint.{} = {{ url = {} }}",
            toml_key(provider),
            toml_key(endpoint),
            self.url(endpoint, scheme),
        )
    }

    /// Where the plugin says such an endpoint usually is, as a text in TOML.
    fn url(&self, endpoint: &str, scheme: &str) -> String {
        let usual = self.suggested.get(endpoint);
        let usual = usual.filter(|url| url.starts_with("udp://") == (scheme == "udp"));
        toml_string(&usual.cloned().unwrap_or_else(|| format!("{scheme}://host:port")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str, optional: bool) -> EndpointWish {
        EndpointWish {
            name: name.to_owned(),
            purpose: "to recreate containers".to_owned(),
            suggested_url: Some("unix:///run/engine.sock".to_owned()),
            rules: Vec::new(),
            rules_follow: Vec::new(),
            optional,
        }
    }

    #[test]
    fn a_recreation_without_its_grant_is_refused_beforehand() {
        let wishes = [wish("engine", false), wish("recreate", true)];
        let scope = Scope::new(Arc::new(Tenant::nobody("docker")), &wishes);
        let lack = scope.lacks(Ability::Recreate, &wishes).unwrap();
        let line =
            "add to [provider.docker]: endpoint.recreate = { url = \"unix:///run/engine.sock\" }";
        assert!(lack.ends_with(line), "{lack}");
        assert_eq!(scope.lacks(Ability::Exec, &wishes), None, "it has no endpoint of its own");
        let required = [wish("recreate", false)];
        assert_eq!(scope.lacks(Ability::Recreate, &required), None);
    }
}
