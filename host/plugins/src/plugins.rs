//! Where plugins come from, and the providers made of them.

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
    cache::Cache,
    command::{Processes, Records, Starter},
    compile::Compiler,
    directory::Directories,
    dylib::Linked,
    guest_memory::GuestMemory,
    info::{Kind, PluginInfo},
    load::{self, House, Plugin, Source},
    notes::Notes,
    provider::PluginProvider,
    runtime::Runtime,
    settings::{Limits, PluginLimits, ProviderSettings},
    vouch::{self, Listed, Said, Verification, Vouchers},
};

/// To watch a directory takes this long at most; then its plugin is loaded all the same.
const NOTICE: Duration = Duration::from_secs(1);

/// Where plugins come from.
#[derive(Clone, Debug)]
pub struct PluginsConfig {
    /// Files `NAME.wasm` and `NAME.so` in here go before bundled plugins. It may be made later.
    pub dir: Option<PathBuf>,
    /// Plugins may be dynamic libraries: trusted code that nothing confines.
    pub allow_dylib: bool,
    /// Compiled plugins are kept in here, in a directory that must be ours alone.
    pub cache: PathBuf,
    /// Plugins that come with the router, by name.
    pub bundled: &'static [(&'static str, &'static [u8])],
    /// What must vouch for a plugin before it is used.
    pub vouchers: Vouchers,
    /// Which granted programs run is kept in here, so that a router that follows one that was
    /// killed finds them; nobody does when absent. A directory that is there and is this router's
    /// alone.
    pub state: Option<PathBuf>,
    /// The program that sets the limits of granted programs and of compilations, one that begins
    /// with [`launched`] and [`compile_process`]: the router itself. Without one, programs with
    /// limits do not begin, and plugins are compiled in this process without limits.
    ///
    /// [`launched`]: crate::launched
    /// [`compile_process`]: crate::compile_process
    pub launcher: Option<PathBuf>,
    /// What all plugins together may use up.
    pub limits: PluginLimits,
    /// The soft limit of open files that granted programs get; the router's own when absent.
    pub files: Option<u64>,
    /// Runs loading and `watch`; never a data-path thread's runtime.
    pub runtime: Handle,
}

/// The WASM runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the WASM runtime cannot be started: {0}")]
pub struct PluginsError(String);

/// Finds and loads plugins, makes providers of them, and replaces plugins whose file has changed.
/// Dropping it stops the replacing; [`Plugins::shutdown`] stops what providers have started.
pub struct Plugins {
    shelf: Arc<Shelf>,
    /// One for each provider, and one that looks at the directories.
    keepers: Mutex<JoinSet<()>>,
}

struct Shelf {
    config: PluginsConfig,
    house: Arc<House>,
    providers: Mutex<Vec<Arc<PluginProvider>>>,
    /// Absent when the system does not tell of changes.
    directories: Option<Directories>,
    /// A file has changed.
    changes: watch::Sender<()>,
    /// It was said that the directory cannot be used.
    complained: AtomicBool,
    /// What is linked into the program.
    linked: Mutex<Vec<Linked>>,
    /// What is loaded, by digest and origin, as long as somebody uses it.
    loaded: Mutex<BTreeMap<(String, String), Loading>>,
}

/// A plugin that is loaded, or being loaded by the first that wants it.
type Loading = Arc<OnceCell<Weak<Plugin>>>;

// === impl Plugins ===

impl Plugins {
    /// Starts the WASM runtime.
    pub fn new(config: PluginsConfig) -> Result<Self, PluginsError> {
        let runtime = Runtime::new().map_err(|error| PluginsError(format!("{error:#}")))?;
        let cache = Cache::open(&config.cache);
        let handle = config.runtime.clone();
        let records = Arc::new(Records::open(config.state.as_deref()));
        let (launcher, files) = (config.launcher.clone(), config.files);
        let starter = Starter { launcher, files, ..Starter::default() };
        let house = House {
            runtime,
            cache,
            compiler: Compiler::new(config.launcher.clone(), config.limits.compile),
            memory: Arc::new(GuestMemory::new(config.limits.memory)),
            places: Arc::default(),
            starter,
            records,
        };
        let directories = Directories::new()
            .inspect_err(|error| {
                tracing::warn!("changed plugins are used only after a restart: {error}");
            })
            .ok();
        let shelf = Arc::new(Shelf {
            config,
            house: Arc::new(house),
            providers: Mutex::new(Vec::new()),
            directories,
            changes: watch::Sender::new(()),
            complained: AtomicBool::new(false),
            linked: Mutex::default(),
            loaded: Mutex::new(BTreeMap::new()),
        });
        if let Some(dir) = &shelf.config.dir {
            shelf.notice(dir);
        }
        if let Some(lock) = &shelf.config.vouchers.lock {
            shelf.notice(&lock.file);
        }
        let mut keepers = JoinSet::new();
        keepers.spawn_on(shelf.clone().look_out(), &handle);
        Ok(Self { shelf, keepers: Mutex::new(keepers) })
    }

    /// Adds a plugin that is linked into the program. It goes before files and bundled plugins of its
    /// name.
    pub fn link(&self, plugin: Linked) {
        self.shelf.linked().push(plugin);
    }

    /// Where the router itself listens, with the ports that the kernel chose. No target may be there:
    /// a request would come back without end.
    pub fn set_listeners(&self, listeners: Vec<SocketAddr>) {
        self.shelf.house.places.set_listeners(listeners);
    }

    /// Ends what an earlier router has left running for providers that are not configured any
    /// more, in the background.
    pub fn end_strangers(&self, configured: &BTreeSet<String>) {
        let records = &self.shelf.house.records;
        for provider in records.providers().difference(configured) {
            let notes = Arc::new(Notes::new(provider, Limits::default().log_lines));
            let left = Processes::new(
                provider,
                BTreeMap::new(),
                Starter::default(),
                notes,
                records.clone(),
            );
            let end = async move { left.recover().await };
            self.keepers().spawn_on(end, &self.shelf.config.runtime);
        }
    }

    /// The provider of these settings, with its plugin loaded if that is possible; else it exists
    /// all the same and its state names the cause.
    pub async fn provider(&self, settings: ProviderSettings) -> Arc<PluginProvider> {
        let shelf = &self.shelf;
        let provider = Arc::new(PluginProvider::new(
            shelf.house.clone(),
            shelf.config.runtime.clone(),
            settings,
        ));
        provider.seat().tenant.processes.recover().await;
        shelf.providers().push(provider.clone());
        let (done, answer) = oneshot::channel();
        let keep = shelf.clone().keep(provider.clone(), done);
        self.keepers().spawn_on(keep, &shelf.config.runtime);
        // The keeper answers or is gone; either way the provider's state tells.
        let _ = answer.await;
        provider
    }

    /// The same, if its plugin can be used and takes the settings. The failure is what it answered
    /// to them, or why it cannot be asked.
    pub async fn configured(
        &self,
        settings: ProviderSettings,
    ) -> Result<Arc<PluginProvider>, Failure> {
        let provider = self.provider(settings).await;
        match provider.seat().unusable() {
            None => Ok(provider),
            Some(failure) => Err(failure),
        }
    }

    /// Every plugin of the directory and every bundled one that no file replaces, by name. Of what
    /// must not be used nothing is run.
    pub async fn list(&self) -> Vec<Listed> {
        let bundled = self.shelf.config.bundled.iter().map(|(name, _)| (*name).to_owned());
        let mut names: BTreeSet<String> = bundled.collect();
        names.extend(self.shelf.files());
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let (said, info) = match self.shelf.judged(&name).await {
                Ok((source, said)) => {
                    let info = match said.refusal(&name, &source) {
                        Some(why) => Err(why),
                        None => self.loaded(source).await,
                    };
                    (Some(said), info)
                }
                Err(why) => (None, Err(why)),
            };
            listed.push(Listed { name, said, info });
        }
        listed
    }

    /// What a plugin is, by name or path. The error says what is wrong and what to do.
    pub async fn inspect(&self, reference: &str) -> Result<PluginInfo, String> {
        self.loaded(self.shelf.find(reference).await?).await
    }

    /// What a plugin is and who vouches for it, by name or path. The error says why it cannot be
    /// used at all and what to do; so it is with a dynamic library that somebody refuses, because
    /// to ask what it is would run it.
    pub async fn verify(&self, reference: &str) -> Result<Verification, String> {
        let (source, said) = self.shelf.judged(reference).await?;
        if source.kind == Kind::Dylib
            && let Some(why) = said.refusal(reference, &source)
        {
            return Err(why);
        }
        let locked_as = self.shelf.config.vouchers.name(reference);
        Ok(Verification { locked_as, info: self.loaded(source).await?, said })
    }

    async fn loaded(&self, source: Source) -> Result<PluginInfo, String> {
        Ok(load::load(&self.shelf.house, source).await?.info().clone())
    }

    /// Ends every `watch` and every process of every provider.
    pub async fn shutdown(&self) {
        self.keepers().abort_all();
        let providers = self.shelf.providers().clone();
        let ends = providers.iter().map(|provider| provider.shutdown());
        futures_util::future::join_all(ends).await;
    }

    /// Kills every process of every provider, and waits a moment for their ends. False when one has
    /// not ended by then.
    pub async fn kill(&self) -> bool {
        let providers = self.shelf.providers().clone();
        let ends = providers.iter().map(|provider| provider.seat().tenant.processes.kill());
        futures_util::future::join_all(ends).await.into_iter().all(|ended| ended)
    }

    /// How long [`Plugins::shutdown`] takes at most, by what processes are granted to end.
    pub fn longest_end(&self) -> Duration {
        let providers = self.shelf.providers();
        let ends = providers.iter().map(|provider| provider.seat().tenant.processes.longest_end());
        ends.max().unwrap_or_default()
    }

    fn keepers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shelf ===

impl Shelf {
    fn providers(&self) -> MutexGuard<'_, Vec<Arc<PluginProvider>>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn linked(&self) -> MutexGuard<'_, Vec<Linked>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who keep plugins of every change.
    async fn look_out(self: Arc<Self>) {
        let Some(directories) = &self.directories else { return };
        loop {
            directories.changed().await;
            self.changes.send_replace(());
        }
    }

    /// Loads the plugin of a provider, now and whenever a file has changed. A plugin that takes long
    /// keeps nobody else waiting.
    async fn keep(self: Arc<Self>, provider: Arc<PluginProvider>, done: oneshot::Sender<()>) {
        let mut changes = self.changes.subscribe();
        let reference = &provider.seat().reference;
        if is_path(reference)
            && let Some(dir) = absolute(Path::new(reference)).parent()
        {
            let (shelf, dir) = (self.clone(), dir.to_owned());
            let noticed = tokio::task::spawn_blocking(move || shelf.notice(&dir));
            // Its file system may hang: then its changes are not noticed.
            let _ = tokio::time::timeout(NOTICE, noticed).await;
        }
        let mut done = Some(done);
        let mut found = self.find(reference).await;
        loop {
            if let Some(newer) = self.overtaken(&provider, &found, &mut changes).await {
                found = newer;
                continue;
            }
            // Nobody waits any more; the provider is served all the same.
            let _ = done.take().map(|done| done.send(()));
            // The sender is our own, so this goes on until we are given up.
            if changes.changed().await.is_err() {
                return;
            }
            found = self.find(reference).await;
        }
    }

    /// Lets a provider use what was found. Ends before that when something else is found by then:
    /// that, and the older file is loaded no further.
    async fn overtaken(
        self: &Arc<Self>,
        provider: &PluginProvider,
        found: &Result<Source, String>,
        changes: &mut watch::Receiver<()>,
    ) -> Option<Result<Source, String>> {
        let mut adopted = pin!(self.adopt(provider, found));
        loop {
            tokio::select! {
                () = &mut adopted => return None,
                Ok(()) = changes.changed() => {
                    let newer = self.find(&provider.seat().reference).await;
                    if !same(found, &newer) {
                        return Some(newer);
                    }
                }
            }
        }
    }

    /// Watches a directory of plugins, or a single file. Blocks.
    fn notice(&self, path: &Path) {
        if let Some(directories) = &self.directories {
            directories.add(&absolute(path));
        }
    }

    /// Lets a provider use the file that was found.
    async fn adopt(&self, provider: &PluginProvider, found: &Result<Source, String>) {
        let loaded = match found {
            Ok(source) => self.load(source).await,
            Err(cause) => Err(cause.clone()),
        };
        provider.seat().adopt(loaded).await;
    }

    /// What this file is, loaded once for all who use it.
    async fn load(&self, source: &Source) -> Result<Arc<Plugin>, String> {
        loop {
            let loading = self.loading(source);
            let mut own = None;
            let load = loading.get_or_try_init(|| async {
                let plugin = load::load(&self.house, source.clone()).await?;
                Ok::<_, String>(Arc::downgrade(own.insert(Arc::new(plugin))))
            });
            let shared = load.await?;
            if let Some(plugin) = shared.upgrade() {
                return Ok(plugin);
            }
            // Whoever has loaded it does not use it any more: it is loaded anew.
        }
    }

    /// The place of a file among what is loaded.
    fn loading(&self, source: &Source) -> Loading {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, loading| match loading.get() {
            Some(plugin) => plugin.strong_count() > 0,
            None => Arc::strong_count(loading) > 1,
        });
        loaded.entry((source.digest.clone(), source.origin.clone())).or_default().clone()
    }

    /// The names of the files in the directory.
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

    /// Where a plugin's file would be: in the directory, or at the path itself.
    fn paths(&self, reference: &str) -> Vec<PathBuf> {
        if is_path(reference) {
            return vec![reference.into()];
        }
        let dir = self.config.dir.iter();
        dir.flat_map(|dir| ["wasm", "so"].map(|end| dir.join(format!("{reference}.{end}"))))
            .collect()
    }

    /// Why nothing in the directory of plugins can be used: a directory on the way to it cannot be
    /// entered, as the home of another user. None when it can be entered, or does not exist.
    fn closed(&self) -> Option<String> {
        let dir = self.config.dir.as_ref()?;
        match fs::metadata(dir.join(".")) {
            Err(error)
                if [io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                Some(format!("the directory of plugins {}: {error}", dir.display()))
            }
            _ => None,
        }
    }

    /// The file at a path, if there is one and it may be used.
    fn at(&self, path: &Path) -> Result<Option<Source>, String> {
        let shown = path.display();
        let kind = Kind::of_path(path);
        if kind == Kind::Dylib && !self.config.allow_dylib && path.exists() {
            return Err(format!(
                "plugin {shown}: it is a dynamic library, trusted code that nothing confines, and \
                 those are not allowed; if you trust it, add at the top of the router's \
                 configuration: allow-dylib = true"
            ));
        }
        let found = vouch::read(path, vouch::FILE_BYTES);
        let found = found.map_err(|why| format!("plugin {shown}: {why}"))?;
        Ok(found.map(|bytes| Source::new(kind, shown.to_string(), bytes)))
    }

    /// The file of a plugin that may be used: in the directory, else bundled, else at the path.
    async fn find(self: &Arc<Self>, reference: &str) -> Result<Source, String> {
        self.reading(reference, |shelf, name| {
            let source = shelf.read(name)?;
            shelf.config.vouchers.vouch(name, &source)?;
            Ok(source)
        })
        .await
    }

    /// The file of a plugin, and what is said of it.
    async fn judged(self: &Arc<Self>, reference: &str) -> Result<(Source, Said), String> {
        self.reading(reference, |shelf, name| {
            let source = shelf.read(name)?;
            let said = shelf.config.vouchers.say(name, &source);
            Ok((source, said))
        })
        .await
    }

    /// Reads files where that may take its time.
    async fn reading<R: Send + 'static>(
        self: &Arc<Self>,
        reference: &str,
        read: fn(&Self, &str) -> Result<R, String>,
    ) -> Result<R, String> {
        let (shelf, name) = (self.clone(), reference.to_owned());
        let found = tokio::task::spawn_blocking(move || read(&shelf, &name)).await;
        found.unwrap_or_else(|_| Err(format!("plugin {reference:?} cannot be read")))
    }

    fn read(&self, reference: &str) -> Result<Source, String> {
        if let Some(linked) = self.linked().iter().find(|linked| linked.name == reference) {
            return Ok(Source::linked(*linked));
        }
        let paths = self.paths(reference);
        let closed = if is_path(reference) { None } else { self.closed() };
        if closed.is_none() {
            for path in &paths {
                if let Some(source) = self.at(path)? {
                    return Ok(source);
                }
            }
        }
        let bundled = self.config.bundled.iter().find(|(name, _)| *name == reference);
        if let Some((_, bytes)) = bundled {
            if let Some(why) = closed
                && !self.complained.swap(true, Relaxed)
            {
                tracing::warn!("{why}; bundled plugins are used, and no others");
            }
            return Ok(Source::new(Kind::Component, Source::BUNDLED, *bytes));
        }
        if let Some(why) = closed {
            return Err(format!(
                "plugin {reference:?} is not bundled, and {why}; let the router's user enter it, or \
                 name another directory by `plugins`"
            ));
        }
        let bundled: Vec<&str> = self.config.bundled.iter().map(|(name, _)| *name).collect();
        let bundled = bundled.join(", ");
        Err(match paths.first() {
            Some(path) if is_path(reference) => format!(
                "plugin {}: there is no such file; put it there, or name a bundled plugin ({bundled})",
                path.display()
            ),
            Some(path) => format!(
                "plugin {reference:?} is not bundled and there is no file {}; \
                 put it there, or use one of: {bundled}",
                path.display()
            ),
            None => format!(
                "plugin {reference:?} is not bundled and no directory of plugins is configured; \
                 set one, give a path, or use one of: {bundled}"
            ),
        })
    }
}

/// Whether two looks at the place of a plugin found the same.
fn same(one: &Result<Source, String>, other: &Result<Source, String>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => (&one.digest, &one.origin) == (&other.digest, &other.origin),
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}

pub(crate) fn is_path(reference: &str) -> bool {
    reference.contains('/') || reference.ends_with(".wasm") || reference.ends_with(".so")
}

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
