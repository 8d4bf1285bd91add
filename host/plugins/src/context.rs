//! State and grants of one configured provider, shared by all of its instances.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use drowse_core::Ability;
use tokio::sync::Semaphore;

use crate::{
    address_policy::{AddressPolicy, endpoint_index::EndpointIndex},
    command::{Processes, launcher::LaunchOptions, records::ProcessRecords},
    cpu_quota::ProviderCpuBudget,
    dylib::threads::Threads,
    endpoint::{Endpoint, datagrams::Datagrams, label::EndpointLabel},
    fault::Fault,
    grants::{GrpcAttempt, HttpAttempt, Policy, Rule, toml_key, toml_string},
    guest_memory::{GuestMemory, Share},
    health::Health,
    info::EndpointWish,
    log_limiter::LogLimiter,
    memo::Memo,
    network::Networks,
    progress::Progress,
    settings::{Limits, ProviderSettings, Transport},
};

/// Maximum open responses of all instances of a provider; further ones wait.
const RESPONSES: usize = 64;

/// Resources that all providers of the router share.
#[derive(Default)]
pub(crate) struct SharedResources {
    /// Memory limit of all guests.
    pub(crate) memory: Arc<GuestMemory>,
    /// Endpoints of all providers and listeners of the router.
    pub(crate) endpoint_index: Arc<EndpointIndex>,
    /// How granted programs are launched.
    pub(crate) launch_options: LaunchOptions,
    /// Records of running processes.
    pub(crate) records: Arc<ProcessRecords>,
}

/// State that lives as long as the provider's configuration, whichever plugin file serves it.
pub(crate) struct ProviderContext {
    /// The configured name.
    pub(crate) provider: String,
    pub(crate) limits: Limits,
    /// HTTP and gRPC endpoints by granted name.
    endpoints: BTreeMap<String, Endpoint>,
    /// UDP endpoints by granted name.
    datagrams: BTreeMap<String, Datagrams>,
    /// The operator's rules by endpoint; absent where the rules that the plugin requires apply.
    rules: BTreeMap<String, Option<Vec<Rule>>>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) networks: Networks,
    pub(crate) log_limiter: Arc<LogLimiter>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) health: Health,
    /// Allowed target addresses.
    pub(crate) address_policy: AddressPolicy,
    pub(crate) responses: Arc<Semaphore>,
    /// Threads for calls of a dynamic library.
    pub(crate) threads: Threads,
    /// CPU budget of all calls.
    pub(crate) cpu_budget: Arc<ProviderCpuBudget>,
    /// This provider's share of guest memory.
    pub(crate) memory: Arc<Share>,
    started: Instant,
}

/// The grants of a provider, combined with what its plugin requires.
pub(crate) struct Grants {
    pub(crate) context: Arc<ProviderContext>,
    policies: BTreeMap<String, Policy>,
    suggested: BTreeMap<String, String>,
    pub(crate) memo: Memo,
}

// === impl ProviderContext ===

impl ProviderContext {
    /// The context of a provider. The error names the rule that cannot be parsed.
    pub(crate) fn new(
        settings: &ProviderSettings,
        shared: &SharedResources,
    ) -> Result<Self, String> {
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
        let log_limiter = Arc::new(LogLimiter::new(name, settings.limits.log_lines));
        Ok(Self {
            provider: name.to_owned(),
            limits: settings.limits.clone(),
            endpoints,
            datagrams,
            rules,
            processes: Processes::new(
                name,
                settings.commands.clone(),
                shared.launch_options.clone(),
                log_limiter.clone(),
                shared.records.clone(),
            ),
            networks: Networks::new(name, settings.networks.clone()),
            log_limiter,
            progress: Arc::default(),
            health: Health::default(),
            address_policy: AddressPolicy::new(settings, shared.endpoint_index.clone()),
            responses: Arc::new(Semaphore::new(RESPONSES)),
            threads: Threads::new(settings.limits.calls),
            cpu_budget: Arc::new(ProviderCpuBudget::new(settings.limits.cpu)),
            memory: shared.memory.share(),
            started: Instant::now(),
        })
    }

    /// A context without any grant, for `describe`, which belongs to no provider.
    pub(crate) fn without_grants(plugin: &str) -> Self {
        let limits = Limits::default();
        let log_limiter = Arc::new(LogLimiter::new(plugin, limits.log_lines));
        Self {
            provider: plugin.to_owned(),
            endpoints: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            rules: BTreeMap::new(),
            processes: Processes::new(
                plugin,
                BTreeMap::new(),
                LaunchOptions::default(),
                log_limiter.clone(),
                Arc::default(),
            ),
            networks: Networks::new(plugin, BTreeMap::new()),
            log_limiter,
            progress: Arc::default(),
            health: Health::default(),
            address_policy: AddressPolicy::default(),
            responses: Arc::new(Semaphore::new(RESPONSES)),
            threads: Threads::new(limits.calls),
            cpu_budget: Arc::new(ProviderCpuBudget::new(limits.cpu)),
            memory: Arc::new(GuestMemory::default()).share(),
            started: Instant::now(),
            limits,
        }
    }

    /// Records a refusal for the operator.
    pub(crate) fn refused(&self, operation: &str, refusal: &str) {
        if self.log_limiter.warn(operation, refusal) {
            self.health.note(format!("{operation}: {refusal}"));
        }
    }

    /// Records the fault of an instance for the operator.
    pub(crate) fn broke(&self, operation: &str, fault: &Fault) {
        self.health.fault(format!("{operation}: the plugin {fault}"));
        self.log_limiter.warn(operation, &format!("plugin instance broke: {fault}"));
    }

    /// The granted endpoint of this name.
    pub(crate) fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// Labels of all endpoints.
    pub(crate) fn endpoint_labels(&self) -> impl Iterator<Item = &EndpointLabel> {
        let endpoints = self.endpoints.values().map(Endpoint::label);
        endpoints.chain(self.datagrams.values().map(Datagrams::label))
    }

    /// Nanoseconds since this provider was created.
    pub(crate) fn monotonic(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn parse(rules: &[String]) -> Result<Vec<Rule>, crate::grants::InvalidRule> {
    rules.iter().map(|rule| rule.parse()).collect()
}

// === impl Grants ===

impl Grants {
    /// The grants of this provider for a plugin that requires `wishes`.
    pub(crate) fn new(context: Arc<ProviderContext>, wishes: &[EndpointWish]) -> Self {
        let mut policies = BTreeMap::new();
        for (endpoint, granted) in &context.rules {
            let wish = wishes.iter().find(|wish| wish.name == *endpoint);
            // The loader has already parsed these rules.
            let wished = wish.map(|wish| parse(&wish.rules).unwrap_or_default());
            policies.insert(endpoint.clone(), Policy::new(granted.clone(), wished));
        }
        let suggested = wishes
            .iter()
            .filter_map(|wish| Some((wish.name.clone(), wish.suggested_url.clone()?)))
            .collect();
        Self { context, policies, suggested, memo: Memo::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.context.limits
    }

    /// The endpoint, if it allows the request; otherwise the refusal with the line to add.
    pub(crate) fn endpoint_for(&self, attempt: &HttpAttempt<'_>) -> Result<&Endpoint, String> {
        let (endpoint, policy) = self.http_endpoint(attempt.endpoint)?;
        policy.check(attempt).map(|()| endpoint)
    }

    /// The endpoint, if it allows the gRPC call; otherwise the refusal with the line to add.
    pub(crate) fn endpoint_for_call(&self, attempt: &GrpcAttempt<'_>) -> Result<&Endpoint, String> {
        let (endpoint, policy) = self.http_endpoint(attempt.endpoint)?;
        policy.check_call(attempt).map(|()| endpoint)
    }

    fn http_endpoint(&self, name: &str) -> Result<(&Endpoint, &Policy), String> {
        let found = self.context.endpoints.get(name).zip(self.policies.get(name));
        found.ok_or_else(|| match self.context.datagrams.contains_key(name) {
            true => self.wrong_protocol(name, "datagrams, not http", "https"),
            false => self.no_endpoint(name, "https"),
        })
    }

    /// The endpoint, if it is granted for datagrams; otherwise the refusal with the line to add.
    pub(crate) fn datagrams(&self, endpoint: &str) -> Result<&Datagrams, String> {
        self.context.datagrams.get(endpoint).ok_or_else(|| {
            match self.context.endpoints.contains_key(endpoint) {
                true => self.wrong_protocol(endpoint, "http, not datagrams", "udp"),
                false => self.no_endpoint(endpoint, "udp"),
            }
        })
    }

    /// The refusal that calls of this ability would get: the plugin declares an optional endpoint
    /// named like the ability, and it is not granted.
    pub(crate) fn missing_grant(
        &self,
        ability: Ability,
        wishes: &[EndpointWish],
    ) -> Option<String> {
        let wish = wishes.iter().find(|wish| wish.optional && wish.name == ability.as_str())?;
        let context = &self.context;
        let granted = context.endpoints.contains_key(&wish.name)
            || context.datagrams.contains_key(&wish.name);
        let scheme = if wish.wants_datagrams() { "udp" } else { "https" };
        (!granted).then(|| self.no_endpoint(&wish.name, scheme))
    }

    fn no_endpoint(&self, endpoint: &str, scheme: &str) -> String {
        let provider = &self.context.provider;
        let endpoint = crate::text::sanitize(endpoint, 128);
        format!(
            "provider {provider:?}: endpoint {endpoint:?} is not granted: add to [provider.{}]: \
             endpoint.{} = {{ url = {} }}",
            toml_key(provider),
            toml_key(&endpoint),
            self.url(&endpoint, scheme),
        )
    }

    /// The refusal for an endpoint that is granted for another protocol.
    fn wrong_protocol(&self, endpoint: &str, takes: &str, scheme: &str) -> String {
        let provider = &self.context.provider;
        format!(
            "provider {provider:?}: endpoint {endpoint:?} takes {takes}, according to its url: change in \
             [provider.{}]: endpoint.{} = {{ url = {} }}",
            toml_key(provider),
            toml_key(endpoint),
            self.url(endpoint, scheme),
        )
    }

    /// The plugin's suggested URL for the endpoint, as a TOML string.
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
    fn an_ability_without_its_endpoint_is_refused_before_the_call() {
        let wishes = [wish("engine", false), wish("recreate", true)];
        let grants = Grants::new(Arc::new(ProviderContext::without_grants("docker")), &wishes);
        let refusal = grants.missing_grant(Ability::Recreate, &wishes).unwrap();
        let line =
            "add to [provider.docker]: endpoint.recreate = { url = \"unix:///run/engine.sock\" }";
        assert!(refusal.ends_with(line), "{refusal}");
        assert_eq!(
            grants.missing_grant(Ability::Exec, &wishes),
            None,
            "no endpoint of that name is declared"
        );
        let required = [wish("recreate", false)];
        assert_eq!(grants.missing_grant(Ability::Recreate, &required), None);
    }
}
