//! The plugin registry: finds, verifies and loads plugins, and builds providers from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use drowse_core::Failure;
use tokio::{
    runtime::Handle,
    sync::{OnceCell, oneshot, watch},
    task::JoinSet,
};

use crate::{
    cache::CompiledCache,
    command::{Processes, launcher::LaunchOptions, records::ProcessRecords},
    compile::Compiler,
    context::SharedResources,
    directory::Directories,
    dylib::library::LinkedPlugin,
    guest_memory::GuestMemory,
    host::PluginHost,
    info::{BUNDLED, PluginInfo, PluginKind},
    load,
    log_limiter::LogLimiter,
    plugin::Plugin,
    provider::PluginProvider,
    runtime::Runtime,
    settings::{Limits, PluginLimits, ProviderSettings},
    source::{FILE_BYTES, PluginSource, absolute, is_path},
    trust::{ListedPlugin, TrustPolicy, Verification, VerificationResult, owner},
};

/// Maximum wait for adding a directory watch; then the plugin is loaded without it.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Configuration of [`Plugins`].
#[derive(Clone, Debug)]
pub struct PluginsConfig {
    /// Plugin directory: files `NAME.wasm` and `NAME.so` take precedence over bundled plugins. It
    /// may be created later.
    pub dir: Option<PathBuf>,
    /// True if plugins may be dynamic libraries, which run without a sandbox.
    pub allow_dylib: bool,
    /// Private directory of the compiled cache.
    pub cache: PathBuf,
    /// Bundled plugins, by name.
    pub bundled: &'static [(&'static str, &'static [u8])],
    /// Verification required before a plugin is used.
    pub trust: TrustPolicy,
    /// Private, existing directory for the records of running processes, from which the next router
    /// finds the processes of one that was killed. Nothing is recorded when absent.
    pub state: Option<PathBuf>,
    /// The executable that applies limits to granted programs and compilations: one that calls
    /// [`launched`] and [`compile_process`] first, as the router does. Without it, programs with
    /// limits are not started, and plugins are compiled in this process without limits.
    ///
    /// [`launched`]: crate::launched
    /// [`compile_process`]: crate::compile_process
    pub launcher: Option<PathBuf>,
    /// Resource limits of all plugins together.
    pub limits: PluginLimits,
    /// Soft limit of open files for granted programs; by default the router's own.
    pub files: Option<u64>,
    /// Runtime for loading and `watch`; never the runtime of a data-path thread.
    pub runtime: Handle,
}

/// The WASM runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the WASM runtime cannot be started: {0}")]
pub struct PluginsError(String);

/// Finds and loads plugins, builds providers from them, and reloads plugins whose files change.
/// Dropping it stops reloading; [`Plugins::shutdown`] stops the processes of providers.
pub struct Plugins {
    registry: Arc<Registry>,
    /// One task per provider, and one that forwards directory changes.
    reload_tasks: Mutex<JoinSet<()>>,
}

struct Registry {
    config: PluginsConfig,
    host: Arc<PluginHost>,
    providers: Mutex<Vec<Arc<PluginProvider>>>,
    /// Absent if file system notifications are unavailable.
    directories: Option<Directories>,
    /// Notifies of file changes.
    changes: watch::Sender<()>,
    /// True if the unreadable plugin directory has been logged.
    warned_unreadable: AtomicBool,
    /// Plugins linked into the executable.
    linked: Mutex<Vec<LinkedPlugin>>,
    /// Loaded plugins by digest and origin, while in use.
    loaded: Mutex<BTreeMap<(String, String), Loading>>,
}

/// A plugin that is loaded, or being loaded by its first user.
type Loading = Arc<OnceCell<Weak<Plugin>>>;

// === impl Plugins ===

impl Plugins {
    /// Starts the WASM runtime.
    pub fn new(config: PluginsConfig) -> Result<Self, PluginsError> {
        let runtime = Runtime::new().map_err(|error| PluginsError(format!("{error:#}")))?;
        let cache = CompiledCache::open(&config.cache);
        let handle = config.runtime.clone();
        let records = Arc::new(ProcessRecords::open(config.state.as_deref()));
        let (launcher, files) = (config.launcher.clone(), config.files);
        let launch_options = LaunchOptions { launcher, files, ..LaunchOptions::default() };
        let host = PluginHost {
            runtime,
            cache,
            compiler: Compiler::new(config.launcher.clone(), config.limits.compile),
            shared: SharedResources {
                memory: Arc::new(GuestMemory::new(config.limits.memory)),
                endpoint_index: Arc::default(),
                launch_options,
                records,
            },
        };
        let directories = Directories::new()
            .inspect_err(|error| {
                tracing::warn!("plugin changes take effect only after a restart: {error}");
            })
            .ok();
        let registry = Arc::new(Registry {
            config,
            host: Arc::new(host),
            providers: Mutex::new(Vec::new()),
            directories,
            changes: watch::Sender::new(()),
            warned_unreadable: AtomicBool::new(false),
            linked: Mutex::default(),
            loaded: Mutex::new(BTreeMap::new()),
        });
        if let Some(dir) = &registry.config.dir {
            registry.watch_path(dir);
        }
        if let Some(lock) = &registry.config.trust.lock {
            registry.watch_path(&lock.file);
        }
        let mut reload_tasks = JoinSet::new();
        reload_tasks.spawn_on(registry.clone().forward_changes(), &handle);
        Ok(Self { registry, reload_tasks: Mutex::new(reload_tasks) })
    }

    /// Adds a plugin that is linked into the executable. It takes precedence over files and bundled
    /// plugins of its name.
    pub fn link(&self, plugin: LinkedPlugin) {
        self.registry.linked().push(plugin);
    }

    /// Sets the router's own listen addresses, with the actual ports. They are refused as target
    /// addresses, because requests would loop.
    pub fn set_listeners(&self, listeners: Vec<SocketAddr>) {
        self.registry.host.shared.endpoint_index.set_listeners(listeners);
    }

    /// Stops, in the background, processes that an earlier router left running for providers that
    /// are no longer configured.
    pub fn kill_orphans(&self, configured: &BTreeSet<String>) {
        let records = &self.registry.host.shared.records;
        for provider in records.providers().difference(configured) {
            let log_limiter = Arc::new(LogLimiter::new(provider, Limits::default().log_lines));
            let left = Processes::new(
                provider,
                BTreeMap::new(),
                LaunchOptions::default(),
                log_limiter,
                records.clone(),
            );
            let end = async move { left.recover().await };
            self.reload_tasks().spawn_on(end, &self.registry.config.runtime);
        }
    }

    /// Creates a provider and loads its plugin. If that fails the provider exists all the same, and
    /// its state contains the cause.
    pub async fn provider(&self, settings: ProviderSettings) -> Arc<PluginProvider> {
        let registry = &self.registry;
        let provider = Arc::new(PluginProvider::new(
            registry.host.clone(),
            registry.config.runtime.clone(),
            settings,
        ));
        provider.instance().context.processes.recover().await;
        registry.providers().push(provider.clone());
        let (done, answer) = oneshot::channel();
        let keep_loaded = registry.clone().keep_loaded(provider.clone(), done);
        self.reload_tasks().spawn_on(keep_loaded, &registry.config.runtime);
        // Sent or dropped; either way the provider's state has the outcome.
        let _ = answer.await;
        provider
    }

    /// As [`Plugins::provider`], but fails with the error of `configure`, or with the reason why
    /// the plugin cannot be used.
    pub async fn configured(
        &self,
        settings: ProviderSettings,
    ) -> Result<Arc<PluginProvider>, Failure> {
        let provider = self.provider(settings).await;
        match provider.instance().unusable() {
            None => Ok(provider),
            Some(failure) => Err(failure),
        }
    }

    /// Every plugin of the directory, and every bundled one that no file replaces, by name. A
    /// plugin that fails verification is not run.
    pub async fn list(&self) -> Vec<ListedPlugin> {
        let bundled = self.registry.config.bundled.iter().map(|(name, _)| (*name).to_owned());
        let mut names: BTreeSet<String> = bundled.collect();
        names.extend(self.registry.files());
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let (verification, info) = match self.registry.verified(&name).await {
                Ok((source, verification)) => {
                    let info = match verification.refusal(&name, &source) {
                        Some(why) => Err(why),
                        None => self.loaded(source).await,
                    };
                    (Some(verification), info)
                }
                Err(why) => (None, Err(why)),
            };
            listed.push(ListedPlugin { name, verification, info });
        }
        listed
    }

    /// The description of a plugin, by name or path. The error says what is wrong and what to do.
    pub async fn inspect(&self, reference: &str) -> Result<PluginInfo, String> {
        self.loaded(self.registry.find(reference).await?).await
    }

    /// The description and verification of a plugin, by name or path. The error says why it cannot
    /// be used and what to do. A dynamic library that fails verification is an error, because
    /// describing it would run it.
    pub async fn verify(&self, reference: &str) -> Result<Verification, String> {
        let (source, verification) = self.registry.verified(reference).await?;
        if source.kind == PluginKind::Dylib
            && let Some(why) = verification.refusal(reference, &source)
        {
            return Err(why);
        }
        let locked_as = self.registry.config.trust.name(reference);
        Ok(Verification { locked_as, info: self.loaded(source).await?, verification })
    }

    async fn loaded(&self, source: PluginSource) -> Result<PluginInfo, String> {
        Ok(load::load(&self.registry.host, source).await?.info().clone())
    }

    /// Ends every `watch` and stops every process of every provider.
    pub async fn shutdown(&self) {
        self.reload_tasks().abort_all();
        let providers = self.registry.providers().clone();
        let ends = providers.iter().map(|provider| provider.shutdown());
        futures_util::future::join_all(ends).await;
    }

    /// Kills every process of every provider and waits shortly for their exit. False if one is
    /// still running.
    pub async fn kill(&self) -> bool {
        let providers = self.registry.providers().clone();
        let ends = providers.iter().map(|provider| provider.instance().context.processes.kill());
        futures_util::future::join_all(ends).await.into_iter().all(|ended| ended)
    }

    /// Maximum duration of [`Plugins::shutdown`], according to the grace periods of granted
    /// commands.
    pub fn max_shutdown_time(&self) -> Duration {
        let providers = self.registry.providers();
        let ends = providers
            .iter()
            .map(|provider| provider.instance().context.processes.max_shutdown_time());
        ends.max().unwrap_or_default()
    }

    fn reload_tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.reload_tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Registry ===

impl Registry {
    fn providers(&self) -> MutexGuard<'_, Vec<Arc<PluginProvider>>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn linked(&self) -> MutexGuard<'_, Vec<LinkedPlugin>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards directory changes to the reload tasks.
    async fn forward_changes(self: Arc<Self>) {
        let Some(directories) = &self.directories else { return };
        loop {
            directories.changed().await;
            self.changes.send_replace(());
        }
    }

    /// Loads the plugin of a provider, now and after each file change. Providers load independently
    /// of each other.
    async fn keep_loaded(
        self: Arc<Self>,
        provider: Arc<PluginProvider>,
        done: oneshot::Sender<()>,
    ) {
        let mut changes = self.changes.subscribe();
        let reference = &provider.instance().reference;
        if is_path(reference)
            && let Some(dir) = absolute(Path::new(reference)).parent()
        {
            let (registry, dir) = (self.clone(), dir.to_owned());
            let noticed = tokio::task::spawn_blocking(move || registry.watch_path(&dir));
            // The file system may hang; then changes are not noticed.
            let _ = tokio::time::timeout(WATCH_TIMEOUT, noticed).await;
        }
        let mut done = Some(done);
        let mut found = self.find(reference).await;
        loop {
            if let Some(newer) = self.adopt_unless_replaced(&provider, &found, &mut changes).await {
                found = newer;
                continue;
            }
            // The caller may have given up; the provider is served all the same.
            let _ = done.take().map(|done| done.send(()));
            // `self` holds the sender, so this runs until the task is aborted.
            if changes.changed().await.is_err() {
                return;
            }
            found = self.find(reference).await;
        }
    }

    /// Adopts the found plugin, unless a different one is found meanwhile: then cancels and returns
    /// that one.
    async fn adopt_unless_replaced(
        self: &Arc<Self>,
        provider: &PluginProvider,
        found: &Result<PluginSource, String>,
        changes: &mut watch::Receiver<()>,
    ) -> Option<Result<PluginSource, String>> {
        let mut adopted = pin!(self.adopt(provider, found));
        loop {
            tokio::select! {
                () = &mut adopted => return None,
                Ok(()) = changes.changed() => {
                    let newer = self.find(&provider.instance().reference).await;
                    if !same(found, &newer) {
                        return Some(newer);
                    }
                }
            }
        }
    }

    /// Watches a plugin directory or a single file. Blocks.
    fn watch_path(&self, path: &Path) {
        if let Some(directories) = &self.directories {
            directories.add(&absolute(path));
        }
    }

    /// Loads the found plugin and switches the provider to it.
    async fn adopt(&self, provider: &PluginProvider, found: &Result<PluginSource, String>) {
        let loaded = match found {
            Ok(source) => self.load(source).await,
            Err(cause) => Err(cause.clone()),
        };
        provider.instance().adopt(loaded).await;
    }

    /// The loaded plugin of a file, shared by all providers that use it.
    async fn load(&self, source: &PluginSource) -> Result<Arc<Plugin>, String> {
        loop {
            let loading = self.loading(source);
            let mut own = None;
            let load = loading.get_or_try_init(|| async {
                let plugin = load::load(&self.host, source.clone()).await?;
                Ok::<_, String>(Arc::downgrade(own.insert(Arc::new(plugin))))
            });
            let shared = load.await?;
            if let Some(plugin) = shared.upgrade() {
                return Ok(plugin);
            }
            // Its last user has dropped it meanwhile: load it again.
        }
    }

    /// The shared load state of a file.
    fn loading(&self, source: &PluginSource) -> Loading {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, loading| match loading.get() {
            Some(plugin) => plugin.strong_count() > 0,
            None => Arc::strong_count(loading) > 1,
        });
        loaded.entry((source.digest.clone(), source.origin.clone())).or_default().clone()
    }

    /// Names of the plugin files in the directory.
    fn files(&self) -> Vec<String> {
        let Some(entries) = self.config.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let plugin = |name: String| {
            let name = name.strip_suffix(".wasm").or_else(|| name.strip_suffix(".so"))?;
            Some(name.to_owned())
        };
        names.filter_map(plugin).collect()
    }

    /// Candidate paths of a plugin: in the directory, or the path itself.
    fn paths(&self, reference: &str) -> Vec<PathBuf> {
        if is_path(reference) {
            return vec![reference.into()];
        }
        let dir = self.config.dir.iter();
        dir.flat_map(|dir| ["wasm", "so"].map(|end| dir.join(format!("{reference}.{end}"))))
            .collect()
    }

    /// Why the plugin directory cannot be read: a directory above it is not accessible, for example
    /// the home of another user. None if it can be read or does not exist.
    fn unreadable_dir(&self) -> Option<String> {
        let dir = self.config.dir.as_ref()?;
        match fs::metadata(dir.join(".")) {
            Err(error)
                if [io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                Some(format!("the plugin directory {}: {error}", dir.display()))
            }
            _ => None,
        }
    }

    /// The plugin file at a path, if it exists and may be used.
    fn at(&self, path: &Path) -> Result<Option<PluginSource>, String> {
        let shown = path.display();
        let kind = PluginKind::of_path(path);
        if kind == PluginKind::Dylib && !self.config.allow_dylib && path.exists() {
            return Err(format!(
                "plugin {shown}: it is a dynamic library, which runs without a sandbox, and \
                 dynamic libraries are not allowed; if you trust it, add at the top of the \
                 router's configuration: allow-dylib = true"
            ));
        }
        let found = owner::read(path, FILE_BYTES);
        let found = found.map_err(|why| format!("plugin {shown}: {why}"))?;
        Ok(found.map(|bytes| PluginSource::new(kind, shown.to_string(), bytes)))
    }

    /// The verified file of a plugin: from the directory, else bundled, or at the path.
    async fn find(self: &Arc<Self>, reference: &str) -> Result<PluginSource, String> {
        self.reading(reference, |registry, name| {
            let source = registry.read(name)?;
            registry.config.trust.enforce(name, &source)?;
            Ok(source)
        })
        .await
    }

    /// The file of a plugin with its verification result.
    async fn verified(
        self: &Arc<Self>,
        reference: &str,
    ) -> Result<(PluginSource, VerificationResult), String> {
        self.reading(reference, |registry, name| {
            let source = registry.read(name)?;
            let verification = registry.config.trust.verify(name, &source);
            Ok((source, verification))
        })
        .await
    }

    /// Reads files on a blocking thread.
    async fn reading<R: Send + 'static>(
        self: &Arc<Self>,
        reference: &str,
        read: fn(&Self, &str) -> Result<R, String>,
    ) -> Result<R, String> {
        let (registry, name) = (self.clone(), reference.to_owned());
        let found = tokio::task::spawn_blocking(move || read(&registry, &name)).await;
        found.unwrap_or_else(|_| Err(format!("plugin {reference:?} cannot be read")))
    }

    fn read(&self, reference: &str) -> Result<PluginSource, String> {
        if let Some(linked) = self.linked().iter().find(|linked| linked.name == reference) {
            return Ok(PluginSource::linked(*linked));
        }
        let paths = self.paths(reference);
        let unreadable_dir = if is_path(reference) { None } else { self.unreadable_dir() };
        if unreadable_dir.is_none() {
            for path in &paths {
                if let Some(source) = self.at(path)? {
                    return Ok(source);
                }
            }
        }
        let bundled = self.config.bundled.iter().find(|(name, _)| *name == reference);
        if let Some((_, bytes)) = bundled {
            if let Some(why) = unreadable_dir
                && !self.warned_unreadable.swap(true, Relaxed)
            {
                tracing::warn!("{why}; only bundled plugins are used");
            }
            return Ok(PluginSource::new(PluginKind::Component, BUNDLED, *bytes));
        }
        if let Some(why) = unreadable_dir {
            return Err(format!(
                "plugin {reference:?} is not bundled, and {why}; give the router's user access, or \
                 set another directory with `plugin-dir`"
            ));
        }
        let bundled: Vec<&str> = self.config.bundled.iter().map(|(name, _)| *name).collect();
        let bundled = bundled.join(", ");
        Err(match paths.first() {
            Some(path) if is_path(reference) => format!(
                "plugin {}: file not found; put it there, or use a bundled plugin ({bundled})",
                path.display()
            ),
            Some(path) => format!(
                "plugin {reference:?} is not bundled and there is no file {}; \
                 put it there, or use one of: {bundled}",
                path.display()
            ),
            None => format!(
                "plugin {reference:?} is not bundled and no plugin directory is configured; \
                 set one, give a path, or use one of: {bundled}"
            ),
        })
    }
}

/// Returns whether two lookups found the same plugin.
fn same(one: &Result<PluginSource, String>, other: &Result<PluginSource, String>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => (&one.digest, &one.origin) == (&other.digest, &other.origin),
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}
