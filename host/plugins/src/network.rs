//! The networks of one configured provider: CNI configurations that the operator granted by name.
//!
//! An attachment is added, checked and deleted by the plugins of a configuration's chain, as the
//! CNI specification 1.0.0 says (<https://www.cni.dev/docs/spec/>). They run as the router's user.
//! What an addition yields is kept in a file, for the plugins want it again. So adding is safe to
//! repeat: what is attached already and passes the check is only looked up, and anything that an
//! earlier life left is deleted first, since plugins refuse to add twice. And a late deletion for a
//! namespace of an earlier life leaves alone what the next life has got.
//!
//! A namespace is opened once, judged, and handed to the plugins as the open descriptor. The path that
//! a result names is replaced by the one of the attachment before it is kept: a descriptor's number
//! means nothing later.

mod chain;
mod hardware;
mod kept;
mod namespace;
mod plugin;
mod turn;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{
    chain::Chain,
    kept::Kept,
    namespace::Namespace,
    plugin::Verb,
    turn::{Turn, Turns},
};
use crate::{
    fault::clean,
    grants::{network_line, toml_key},
    settings::NetworkGrant,
};

/// Chains of plugins that run at a time for one provider; more wait.
const AT_A_TIME: usize = 8;
/// Longest name of a container; with network and interface it must fit a file's name.
const CONTAINER: usize = 160;
/// Longest name of an interface in Linux.
const INTERFACE: usize = 15;

/// What a provider may attach to.
pub(crate) struct Networks {
    provider: String,
    grants: BTreeMap<String, NetworkGrant>,
    turns: Turns,
    places: Semaphore,
}

/// What is attached to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The granted name.
    pub(crate) network: String,
    pub(crate) container: String,
    /// Path of the network namespace; empty when it is gone.
    pub(crate) namespace: String,
    pub(crate) interface: String,
    /// Ask for this address again.
    pub(crate) address: Option<String>,
}

/// Why it was not attached, checked or detached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NetworkError {
    Denied(String),
    /// A plugin or its configuration failed.
    Failed(String),
    Invalid(String),
    /// It is not attached.
    NotFound(String),
    Timeout(String),
}

/// One attachment with all that its plugins are run by.
struct Run<'a> {
    attachment: &'a Attachment,
    grant: &'a NetworkGrant,
    chain: Chain,
    hardware: String,
    kept: PathBuf,
    /// None when it is gone.
    namespace: Option<Namespace>,
}

// === impl Networks ===

impl Networks {
    pub(crate) fn new(provider: &str, grants: BTreeMap<String, NetworkGrant>) -> Self {
        let (turns, places) = (Turns::default(), Semaphore::new(AT_A_TIME));
        Self { provider: provider.to_owned(), grants, turns, places }
    }

    /// Attaches and returns the addresses. One that is attached and in order stays as it is. A
    /// failed attempt is undone.
    pub(crate) async fn add(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, NetworkError> {
        let namespace = Namespace::open(&attachment.namespace)?;
        let inode = namespace.inode;
        let run = self.run(attachment, Some(namespace)).await?;
        let _alone = self.alone(&run).await?;
        if let Some(kept) = run.kept().await {
            let addresses = chain::addresses(&kept.result);
            if kept.namespace == inode && !addresses.is_empty() && run.holds(&kept).await {
                return Ok(addresses);
            }
            run.clear(Some(&kept.result)).await;
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
        if let Err(error) = run.keep(inode, &result).await {
            run.clear(Some(&result)).await;
            return Err(run.failed(format!("its result cannot be kept: {error}")));
        }
        Ok(addresses)
    }

    /// Detaches. Success when it is not attached, or when another namespace is by now. All plugins
    /// run, whatever one of them says.
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
        let _alone = self.alone(&run).await?;
        let kept = run.kept().await;
        match (denied, &kept) {
            // Another process has the number now: what was attached is gone.
            (Some(_), Some(_)) => return Ok(()),
            (Some(denied), None) => return Err(denied),
            (None, Some(kept)) if run.is_of_another(kept) => return Ok(()),
            (None, _) => {}
        }
        run.del(kept.as_ref().map(|kept| &kept.result)).await
    }

    /// Whether it is attached and in order.
    pub(crate) async fn check(&self, attachment: &Attachment) -> Result<(), NetworkError> {
        let namespace = Namespace::open(&attachment.namespace)?;
        let inode = namespace.inode;
        let run = self.run(attachment, Some(namespace)).await?;
        let _alone = self.alone(&run).await?;
        match run.kept().await {
            Some(kept) if kept.namespace == inode => run.check(&kept.result).await,
            _ => Err(NetworkError::NotFound(format!("{}: it is not attached", run.what()))),
        }
    }

    /// Waits until nobody else is at this attachment, and until there is a place for its plugins.
    async fn alone(&self, run: &Run<'_>) -> Result<(Turn<'_>, SemaphorePermit<'_>), NetworkError> {
        let turn = self.turns.at(&run.kept).await;
        let place = self.places.acquire().await.map_err(|_| run.failed("the router ends"))?;
        Ok((turn, place))
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
            let (container, interface) = (clean(container, 256), clean(interface, 64));
            return Err(NetworkError::Invalid(format!(
                "network {network:?}: {container:?} cannot be a container's name, or \
                 {interface:?} the name of its interface"
            )));
        }
        if let Some(address) = address.as_ref().filter(|it| it.parse::<IpAddr>().is_err()) {
            let address = clean(address, 64);
            return Err(NetworkError::Invalid(format!("{address:?} is not an address")));
        }
        let chain = Chain::read(&grant.config)
            .await
            .map_err(|flaw| NetworkError::Failed(format!("network {network:?}: {flaw}")))?;
        let kept = grant.results.join(result_file(&chain.name, container, interface));
        let hardware = hardware::address(&chain.name, container, interface);
        Ok(Run { attachment, grant, chain, hardware, kept, namespace })
    }

    fn no_grant(&self, network: &str) -> NetworkError {
        let network = clean(network, 128);
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
            let said = self.ask(Verb::Add, plugin, result.as_ref()).await?;
            let said = serde_json::from_slice(&said).map_err(|error| {
                self.failed(format!("plugin {:?} answered no result: {error}", plugin.kind))
            })?;
            result = Some(said);
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

    async fn holds(&self, kept: &Kept) -> bool {
        self.check(&kept.result).await.is_ok()
    }

    /// In reverse, every one of them; then the result is forgotten, unless one failed.
    async fn del(&self, result: Option<&Map<String, Value>>) -> Result<(), NetworkError> {
        let mut failed = None;
        for plugin in self.chain.plugins.iter().rev() {
            if let Err(error) = self.ask(Verb::Del, plugin, result).await {
                failed.get_or_insert(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => kept::remove(&self.kept).await.map_err(|error| {
                self.failed(format!("its kept result cannot be taken away: {error}"))
            }),
        }
    }

    /// Takes away what an earlier addition has left. Where that fails, the next addition tells.
    async fn clear(&self, result: Option<&Map<String, Value>>) {
        if let Err(left) = self.del(result).await {
            tracing::warn!(?left, "{}: what was left cannot be taken away", self.what());
        }
    }

    /// Sets up the container's own loopback interface, as every runtime does that makes networks.
    async fn loopback(&self) -> Result<(), NetworkError> {
        let Some(program) = plugin::find(&self.grant.plugins, "loopback").await else {
            return Ok(());
        };
        let config = self.chain.loopback();
        let lo = Attachment { interface: "lo".to_owned(), ..self.attachment.clone() };
        let namespace = self.namespace_path();
        plugin::run(&program, Verb::Add, &config, &lo, &namespace, None, self.grant).await.map(drop)
    }

    async fn ask(
        &self,
        verb: Verb,
        plugin: &chain::Plugin,
        result: Option<&Map<String, Value>>,
    ) -> Result<Vec<u8>, NetworkError> {
        let program = plugin::find(&self.grant.plugins, &plugin.kind).await.ok_or_else(|| {
            let places: Vec<_> =
                self.grant.plugins.iter().map(|path| path.display().to_string()).collect();
            self.failed(format!("plugin {:?} is not in {}", plugin.kind, places.join(", ")))
        })?;
        let (address, hardware) = (self.attachment.address.as_deref(), self.hardware.as_str());
        let config = self.chain.config(plugin, result, address, hardware);
        let namespace = self.namespace_path();
        let hardware = Some(hardware);
        plugin::run(&program, verb, &config, self.attachment, &namespace, hardware, self.grant)
            .await
    }

    /// Where plugins open the namespace; empty when it is gone.
    fn namespace_path(&self) -> String {
        self.namespace.as_ref().map(Namespace::path).unwrap_or_default()
    }

    /// Whether this belongs to another namespace than the attachment's, or than the one that was at
    /// the attachment's path; an empty path asks for none.
    fn is_of_another(&self, kept: &Kept) -> bool {
        let path = self.attachment.namespace.as_str();
        match &self.namespace {
            Some(namespace) => kept.namespace != namespace.inode,
            None => !path.is_empty() && !kept.path.is_empty() && kept.path != path,
        }
    }

    /// Writes down what an addition yielded, with the path of the attachment in it.
    async fn keep(&self, inode: u64, result: &Map<String, Value>) -> std::io::Result<()> {
        let path = self.attachment.namespace.clone();
        let result = chain::with_sandbox(result, &self.namespace_path(), &path);
        kept::write(&self.kept, &Kept { namespace: inode, path, result }).await
    }

    /// What an addition has yielded, with the path in it by which plugins open the namespace now: they
    /// compare the two.
    async fn kept(&self) -> Option<Kept> {
        let mut kept = kept::read(&self.kept).await?;
        if self.namespace.as_ref().is_some_and(|it| it.inode == kept.namespace) {
            kept.result = chain::with_sandbox(&kept.result, &kept.path, &self.namespace_path());
        }
        Some(kept)
    }

    fn what(&self) -> String {
        let Attachment { network, container, .. } = self.attachment;
        format!("network {network:?}, container {container:?}")
    }

    fn failed(&self, what: impl std::fmt::Display) -> NetworkError {
        NetworkError::Failed(format!("{}: {what}", self.what()))
    }
}

/// The file that keeps the result of one attachment. Names have no `@`, so no two attachments have the
/// same file.
fn result_file(network: &str, container: &str, interface: &str) -> String {
    format!("{network}@{container}@{interface}")
}

#[cfg(test)]
mod tests;
