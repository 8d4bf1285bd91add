//! The networks of one provider: CNI configurations that the operator granted by name.
//!
//! An attachment is added, checked and deleted by the plugins of a configuration's chain, as the
//! CNI specification 1.0.0 defines (<https://www.cni.dev/docs/spec/>). They run as the router's
//! user. The result of ADD is cached in a file, because CHECK and DEL need it. So adding is
//! idempotent: an existing attachment that passes CHECK is only looked up, and leftovers of an
//! earlier instance are deleted first, since plugins refuse to add twice. A late DEL for the
//! namespace of an earlier instance leaves the current attachment alone.
//!
//! A namespace is opened once, checked, and passed to the plugins by its open descriptor. The path
//! in a result is replaced by the path of the attachment before it is cached, because a
//! descriptor's number has no meaning later.

pub(crate) mod attachment;
mod blocking;
mod cached_result;
mod chain;
mod keyed_mutex;
mod mac_address;
mod namespace;
mod plugin;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{
    attachment::{Attachment, NetworkError},
    blocking::BlockingTasks,
    cached_result::CachedResult,
    chain::Chain,
    keyed_mutex::{KeyedGuard, KeyedMutex},
    namespace::Namespace,
    plugin::{Execution, Plugins, Verb},
};
use crate::{
    grants::{network_line, toml_key},
    settings::NetworkGrant,
    text::sanitize,
};

/// Maximum concurrent plugin chains of one provider; further ones wait.
const CONCURRENT_CHAINS: usize = 8;
/// Maximum bytes of a container name; with network and interface it must fit a file name.
const CONTAINER: usize = 160;
/// Maximum bytes of an interface name in Linux.
const INTERFACE: usize = 15;

/// The granted networks of one provider.
pub(crate) struct Networks {
    provider: String,
    grants: BTreeMap<String, NetworkGrant>,
    attachment_locks: KeyedMutex,
    chain_permits: Semaphore,
    blocking: BlockingTasks,
}

/// One attachment with the parameters of its plugin runs.
struct Run<'a> {
    attachment: &'a Attachment,
    plugins: Plugins<'a>,
    chain: Chain,
    mac: String,
    cache_file: PathBuf,
    /// None if it no longer exists.
    namespace: Option<Namespace>,
}

// === impl Networks ===

impl Networks {
    pub(crate) fn new(provider: &str, grants: BTreeMap<String, NetworkGrant>) -> Self {
        let (attachment_locks, chain_permits) =
            (KeyedMutex::default(), Semaphore::new(CONCURRENT_CHAINS));
        let blocking = BlockingTasks::default();
        Self { provider: provider.to_owned(), grants, attachment_locks, chain_permits, blocking }
    }

    /// Attaches and returns the addresses. An intact attachment is unchanged. A failed attempt is
    /// undone.
    pub(crate) async fn add(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, NetworkError> {
        let namespace = Namespace::open(&attachment.namespace)?;
        let inode = namespace.inode;
        let run = self.run(attachment, Some(namespace)).await?;
        let _exclusive = self.exclusive(&run).await?;
        if let Some(cached) = run.cached().await {
            let addresses = chain::addresses(&cached.result);
            if cached.namespace == inode && !addresses.is_empty() && run.is_intact(&cached).await {
                return Ok(addresses);
            }
            run.clear(Some(&cached.result)).await;
        }
        run.loopback().await?;
        let result = match run.add().await {
            Ok(result) => result,
            Err(error) => {
                run.clear(None).await;
                return Err(error);
            }
        };
        let addresses = chain::addresses(&result);
        if let Err(error) = run.store(inode, &result).await {
            run.clear(Some(&result)).await;
            return Err(run.failed(format!("its result cannot be cached: {error}")));
        }
        Ok(addresses)
    }

    /// Detaches. Succeeds if it is not attached, or if another namespace is attached by now. All
    /// plugins run, even if one of them fails.
    pub(crate) async fn del(&self, attachment: &Attachment) -> Result<(), NetworkError> {
        let (namespace, denied) = match attachment.namespace.as_str() {
            "" => (None, None),
            path => match Namespace::open(path) {
                Ok(namespace) => (Some(namespace), None),
                Err(NetworkError::NotFound(_)) => (None, None),
                Err(denied @ NetworkError::Denied(_)) => (None, Some(denied)),
                Err(error) => return Err(error),
            },
        };
        let run = self.run(attachment, namespace).await?;
        let _exclusive = self.exclusive(&run).await?;
        let cached = run.cached().await;
        match (denied, &cached) {
            // The PID was reused: the attached namespace no longer exists.
            (Some(_), Some(_)) => return Ok(()),
            (Some(denied), None) => return Err(denied),
            (None, Some(cached)) if run.is_of_other_namespace(cached) => return Ok(()),
            (None, _) => {}
        }
        run.del(cached.as_ref().map(|cached| &cached.result)).await
    }

    /// Checks that it is attached and intact.
    pub(crate) async fn check(&self, attachment: &Attachment) -> Result<(), NetworkError> {
        let namespace = Namespace::open(&attachment.namespace)?;
        let inode = namespace.inode;
        let run = self.run(attachment, Some(namespace)).await?;
        let _exclusive = self.exclusive(&run).await?;
        match run.cached().await {
            Some(cached) if cached.namespace == inode => run.check(&cached.result).await,
            _ => Err(NetworkError::NotFound(format!("{}: it is not attached", run.title()))),
        }
    }

    /// Waits for exclusive access to this attachment and for a permit to run its plugins.
    async fn exclusive(
        &self,
        run: &Run<'_>,
    ) -> Result<(KeyedGuard<'_>, SemaphorePermit<'_>), NetworkError> {
        let lock = self.attachment_locks.lock(&run.cache_file).await;
        let permit =
            self.chain_permits.acquire().await.map_err(|_| run.failed("the router is stopping"))?;
        Ok((lock, permit))
    }

    async fn run<'a>(
        &'a self,
        attachment: &'a Attachment,
        namespace: Option<Namespace>,
    ) -> Result<Run<'a>, NetworkError> {
        let Attachment { network, container, interface, address, .. } = attachment;
        let grant = self.grants.get(network).ok_or_else(|| self.no_grant(network))?;
        let name = |text: &str, limit: usize| {
            text.len() <= limit
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !name(container, CONTAINER) || !name(interface, INTERFACE) || interface == "lo" {
            let (container, interface) = (sanitize(container, 256), sanitize(interface, 64));
            return Err(NetworkError::Invalid(format!(
                "network {network:?}: {container:?} is not a valid container name, or \
                 {interface:?} not a valid interface name"
            )));
        }
        if let Some(address) = address.as_ref().filter(|it| it.parse::<IpAddr>().is_err()) {
            let address = sanitize(address, 64);
            return Err(NetworkError::Invalid(format!("{address:?} is not an IP address")));
        }
        let chain = Chain::read(&grant.config)
            .await
            .map_err(|flaw| NetworkError::Failed(format!("network {network:?}: {flaw}")))?;
        let cache_file = grant.results.join(result_file(&chain.name, container, interface));
        let mac = mac_address::address(&chain.name, container, interface);
        let plugins = Plugins { grant, blocking: &self.blocking };
        Ok(Run { attachment, plugins, chain, mac, cache_file, namespace })
    }

    fn no_grant(&self, network: &str) -> NetworkError {
        let network = sanitize(network, 128);
        NetworkError::Denied(format!(
            "provider {:?}: network {network:?} is not granted: add to [provider.{}]: {}",
            self.provider,
            toml_key(&self.provider),
            network_line(&network),
        ))
    }
}

// === impl Run ===

impl Run<'_> {
    async fn add(&self) -> Result<Map<String, Value>, NetworkError> {
        let mut result = None;
        for plugin in &self.chain.plugins {
            let output = self.ask(Verb::Add, plugin, result.as_ref()).await?;
            let added = serde_json::from_slice(&output).map_err(|error| {
                self.failed(format!("plugin {:?} returned no result: {error}", plugin.kind))
            })?;
            result = Some(added);
        }
        result.ok_or_else(|| self.failed("its configuration has no plugins"))
    }

    async fn check(&self, result: &Map<String, Value>) -> Result<(), NetworkError> {
        if !self.chain.can_check {
            return Ok(());
        }
        for plugin in &self.chain.plugins {
            self.ask(Verb::Check, plugin, Some(result)).await?;
        }
        Ok(())
    }

    async fn is_intact(&self, cached: &CachedResult) -> bool {
        self.check(&cached.result).await.is_ok()
    }

    /// Runs all plugins in reverse order; then removes the cached result, unless one failed.
    async fn del(&self, result: Option<&Map<String, Value>>) -> Result<(), NetworkError> {
        let mut failed = None;
        for plugin in self.chain.plugins.iter().rev() {
            if let Err(error) = self.ask(Verb::Del, plugin, result).await {
                failed.get_or_insert(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => cached_result::remove(&self.cache_file).await.map_err(|error| {
                self.failed(format!("its cached result cannot be removed: {error}"))
            }),
        }
    }

    /// Deletes leftovers of an earlier ADD. If that fails, the next ADD reports it.
    async fn clear(&self, result: Option<&Map<String, Value>>) {
        if let Err(left) = self.del(result).await {
            tracing::warn!(?left, "{}: leftovers cannot be deleted", self.title());
        }
    }

    /// Sets up the container's loopback interface, as container runtimes do.
    async fn loopback(&self) -> Result<(), NetworkError> {
        let program = self.plugins.find("loopback").await.map_err(|error| self.failed(error))?;
        let Some(program) = program else {
            return Ok(());
        };
        let config = self.chain.loopback();
        let lo = Attachment { interface: "lo".to_owned(), ..self.attachment.clone() };
        let execution = Execution {
            program: &program,
            verb: Verb::Add,
            config: &config,
            attachment: &lo,
            namespace: &self.namespace_path(),
            mac: None,
        };
        self.plugins.run(execution).await.map(drop)
    }

    async fn ask(
        &self,
        verb: Verb,
        plugin: &chain::Plugin,
        result: Option<&Map<String, Value>>,
    ) -> Result<Vec<u8>, NetworkError> {
        let program = self.plugins.find(&plugin.kind).await.map_err(|error| self.failed(error))?;
        let program = program.ok_or_else(|| {
            let directories: Vec<_> =
                self.plugins.grant.plugins.iter().map(|path| path.display().to_string()).collect();
            self.failed(format!("plugin {:?} is not in {}", plugin.kind, directories.join(", ")))
        })?;
        let (address, mac) = (self.attachment.address.as_deref(), self.mac.as_str());
        let config = self.chain.config(plugin, result, address, mac);
        let execution = Execution {
            program: &program,
            verb,
            config: &config,
            attachment: self.attachment,
            namespace: &self.namespace_path(),
            mac: Some(mac),
        };
        self.plugins.run(execution).await
    }

    /// Path by which plugins open the namespace; empty if it no longer exists.
    fn namespace_path(&self) -> String {
        self.namespace.as_ref().map(Namespace::path).unwrap_or_default()
    }

    /// Whether the cached result belongs to another namespace than the attachment's, or than the
    /// one that was at the attachment's path; an empty path matches any.
    fn is_of_other_namespace(&self, cached: &CachedResult) -> bool {
        let path = self.attachment.namespace.as_str();
        match &self.namespace {
            Some(namespace) => cached.namespace != namespace.inode,
            None => !path.is_empty() && !cached.path.is_empty() && cached.path != path,
        }
    }

    /// Caches the result of ADD, with the attachment's path in it.
    async fn store(&self, inode: u64, result: &Map<String, Value>) -> std::io::Result<()> {
        let path = self.attachment.namespace.clone();
        let result = chain::with_sandbox(result, &self.namespace_path(), &path);
        cached_result::write(&self.cache_file, &CachedResult { namespace: inode, path, result })
            .await
    }

    /// The cached result of ADD, with the path by which plugins open the namespace now, because
    /// they compare the two.
    async fn cached(&self) -> Option<CachedResult> {
        let mut cached = cached_result::read(&self.cache_file).await?;
        if self.namespace.as_ref().is_some_and(|it| it.inode == cached.namespace) {
            cached.result =
                chain::with_sandbox(&cached.result, &cached.path, &self.namespace_path());
        }
        Some(cached)
    }

    fn title(&self) -> String {
        let Attachment { network, container, .. } = self.attachment;
        format!("network {network:?}, container {container:?}")
    }

    fn failed(&self, what: impl std::fmt::Display) -> NetworkError {
        NetworkError::Failed(format!("{}: {what}", self.title()))
    }
}

/// Name of the file with the cached result of an attachment. Names contain no `@`, so it is unique.
fn result_file(network: &str, container: &str, interface: &str) -> String {
    format!("{network}@{container}@{interface}")
}

#[cfg(test)]
mod tests;
