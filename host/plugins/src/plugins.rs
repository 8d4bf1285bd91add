//! Where plugins come from, and the providers made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    cache::Cache,
    directory::Directories,
    info::PluginInfo,
    load::{self, House, Plugin, Source},
    provider::WasmProvider,
    runtime::Runtime,
    settings::ProviderSettings,
};

/// Largest plugin file.
const FILE_BYTES: u64 = 64 << 20;

/// Where plugins come from.
#[derive(Clone, Debug)]
pub struct PluginsConfig {
    /// Files `NAME.wasm` in here go before bundled plugins. It may be made later.
    pub dir: Option<PathBuf>,
    /// Compiled plugins are kept in here, in a directory that must be ours alone.
    pub cache: PathBuf,
    /// Plugins that come with the router, by name.
    pub bundled: &'static [(&'static str, &'static [u8])],
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
    orders: mpsc::Sender<Order>,
    keeper: JoinHandle<()>,
}

struct Shelf {
    config: PluginsConfig,
    house: Arc<House>,
    providers: Mutex<Vec<Arc<WasmProvider>>>,
}

/// What the keeper is asked to do.
struct Order {
    provider: Arc<WasmProvider>,
    done: oneshot::Sender<()>,
}

/// Loads plugins, one after the other, for new providers and whenever files change.
struct Keeper {
    shelf: Arc<Shelf>,
    directories: Option<Directories>,
    /// What is loaded, by digest and origin, as long as somebody uses it.
    loaded: BTreeMap<(String, String), Weak<Plugin>>,
}

// === impl Plugins ===

impl Plugins {
    /// Starts the WASM runtime.
    pub fn new(config: PluginsConfig) -> Result<Self, PluginsError> {
        let runtime = Runtime::new().map_err(|error| PluginsError(format!("{error:#}")))?;
        let cache = Cache::open(&config.cache);
        let handle = config.runtime.clone();
        let house = Arc::new(House { runtime, cache });
        let shelf = Arc::new(Shelf { config, house, providers: Mutex::new(Vec::new()) });
        let (orders, inbox) = mpsc::channel(16);
        let keeper = Keeper::new(shelf.clone());
        let keeper = handle.spawn(keeper.run(inbox));
        Ok(Self { shelf, orders, keeper })
    }

    /// The provider of these settings, with its plugin loaded if that is possible; else it exists
    /// all the same and its state names the cause.
    pub async fn provider(&self, settings: ProviderSettings) -> Arc<WasmProvider> {
        let shelf = &self.shelf;
        let provider = Arc::new(WasmProvider::new(
            shelf.house.clone(),
            shelf.config.runtime.clone(),
            settings,
        ));
        shelf.providers().push(provider.clone());
        let (done, answer) = oneshot::channel();
        let order = Order { provider: provider.clone(), done };
        if self.orders.send(order).await.is_ok() {
            // The keeper answers or is gone; either way the provider's state tells.
            let _ = answer.await;
        }
        provider
    }

    /// Every plugin of the directory and every bundled one that no file replaces, by name. The
    /// error says what is wrong with a file.
    pub async fn list(&self) -> Vec<(String, Result<PluginInfo, String>)> {
        let bundled = self.shelf.config.bundled.iter().map(|(name, _)| (*name).to_owned());
        let mut names: BTreeSet<String> = bundled.collect();
        names.extend(self.shelf.files());
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let info = self.inspect(&name).await;
            listed.push((name, info));
        }
        listed
    }

    /// What a plugin is, by name or path. The error says what is wrong and what to do.
    pub async fn inspect(&self, reference: &str) -> Result<PluginInfo, String> {
        let source = self.shelf.find(reference).await?;
        Ok(load::load(&self.shelf.house, source).await?.info().clone())
    }

    /// Ends every `watch` and every process of every provider.
    pub async fn shutdown(&self) {
        self.keeper.abort();
        let providers = self.shelf.providers().clone();
        let ends = providers.iter().map(|provider| provider.shutdown());
        futures_util::future::join_all(ends).await;
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

// === impl Shelf ===

impl Shelf {
    fn providers(&self) -> MutexGuard<'_, Vec<Arc<WasmProvider>>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the files in the directory.
    fn files(&self) -> Vec<String> {
        let Some(entries) = self.config.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".wasm").map(str::to_owned)).collect()
    }

    /// Where a plugin's file would be: in the directory, or at the path itself.
    fn path(&self, reference: &str) -> Option<PathBuf> {
        if is_path(reference) {
            return Some(reference.into());
        }
        Some(self.config.dir.as_ref()?.join(format!("{reference}.wasm")))
    }

    /// The file of a plugin: in the directory, else bundled, else at the path.
    async fn find(self: &Arc<Self>, reference: &str) -> Result<Source, String> {
        let (shelf, name) = (self.clone(), reference.to_owned());
        let found = tokio::task::spawn_blocking(move || shelf.read(&name)).await;
        found.unwrap_or_else(|_| Err(format!("plugin {reference:?} cannot be read")))
    }

    fn read(&self, reference: &str) -> Result<Source, String> {
        let path = self.path(reference);
        if let Some(path) = &path {
            match file(path) {
                Ok(bytes) => return Ok(Source::new(path.display().to_string(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("plugin {}: {error}", path.display())),
            }
        }
        let bundled = self.config.bundled.iter().find(|(name, _)| *name == reference);
        if let Some((_, bytes)) = bundled {
            return Ok(Source::new("bundled", *bytes));
        }
        let bundled: Vec<&str> = self.config.bundled.iter().map(|(name, _)| *name).collect();
        let bundled = bundled.join(", ");
        Err(match path {
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

fn is_path(reference: &str) -> bool {
    reference.contains('/') || reference.ends_with(".wasm")
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if found.len() > FILE_BYTES {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    fs::read(path)
}

// === impl Keeper ===

impl Keeper {
    fn new(shelf: Arc<Shelf>) -> Self {
        let mut directories = Directories::new()
            .inspect_err(|error| {
                tracing::warn!("changed plugins are used only after a restart: {error}");
            })
            .ok();
        if let (Some(directories), Some(dir)) = (&mut directories, &shelf.config.dir) {
            directories.add(&absolute(dir));
        }
        Self { shelf, directories, loaded: BTreeMap::new() }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            let changed = async {
                match &mut self.directories {
                    Some(directories) => directories.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = inbox.recv() => {
                    let Some(Order { provider, done }) = order else { return };
                    self.notice(&provider.seat().reference);
                    self.refresh(&provider).await;
                    // Nobody waits any more; the provider is served all the same.
                    let _ = done.send(());
                }
                () = changed => {
                    let providers = self.shelf.providers().clone();
                    for provider in providers {
                        self.refresh(&provider).await;
                    }
                }
            }
        }
    }

    /// Watches the directory of a plugin that is named by its path.
    fn notice(&mut self, reference: &str) {
        if !is_path(reference) {
            return;
        }
        let path = absolute(Path::new(reference));
        if let (Some(directories), Some(dir)) = (&mut self.directories, path.parent()) {
            directories.add(dir);
        }
    }

    /// Lets a provider use the file that is there now.
    async fn refresh(&mut self, provider: &WasmProvider) {
        let seat = provider.seat();
        let loaded = match self.shelf.find(&seat.reference).await {
            Ok(source) => self.load(source).await,
            Err(cause) => Err(cause),
        };
        seat.adopt(loaded).await;
    }

    async fn load(&mut self, source: Source) -> Result<Arc<Plugin>, String> {
        self.loaded.retain(|_, plugin| plugin.strong_count() > 0);
        let key = (source.digest.clone(), source.origin.clone());
        if let Some(plugin) = self.loaded.get(&key).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let plugin = Arc::new(load::load(&self.shelf.house, source).await?);
        self.loaded.insert(key, Arc::downgrade(&plugin));
        Ok(plugin)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
