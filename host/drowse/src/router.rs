//! Connects the parts of the router: listeners, routes, engine, providers, control socket.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use drowse_admin::{ControlSocket, ListenerStatus, SocketError};
use drowse_config::Config;
use drowse_core::{Engine, EngineDeps, MemoryJournal};
use drowse_plugins::{Plugins, PluginsConfig};
use drowse_proxy::{BindError, ListenerSettings, NetProber, Protocol, Proxy, Running, Tables};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{AbortHandle, JoinHandle, JoinSet},
};

use crate::{
    LAUNCHER,
    bundled::BUNDLED,
    control::AdminControl,
    error::Error,
    saved_state::{self, SavedState},
    state_dir::StateDir,
};

/// Time for requests in flight when the router ends.
const LAST_REQUESTS: Duration = Duration::from_secs(20);
/// Time for providers to stop their programs, in addition to the grace time of the programs.
const LAST_PROCESSES: Duration = Duration::from_secs(5);
/// Time for programs instead of their grace time, after a second signal.
const HASTY_PROCESSES: Duration = Duration::from_secs(1);
/// Time for pending requests on the control socket.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Maximum time that the start waits for providers to load.
const FIRST_PROVIDERS: Duration = Duration::from_secs(3);
/// Maximum time that the start waits for platforms to report running instances.
const FIRST_LOOKS: Duration = Duration::from_secs(1);
/// Maximum number of operations in the journal.
const OPERATIONS: usize = 10_000;

/// A running router.
pub(crate) struct Router {
    running: Running,
    plugins: Arc<Plugins>,
    admin: Option<Admin>,
    /// Adds the providers that are still loading.
    pending: PendingProviders,
    saved: SavedState,
    /// Owns the workloads; no other part keeps it alive.
    _engine: Arc<Engine>,
}

/// The task that adds providers that are still loading. Dropping it cancels them.
struct PendingProviders(Option<AbortHandle>);

/// The control socket being served.
struct Admin {
    end: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

// === impl Router ===

impl Router {
    /// Starts everything that can be started. Fails if no listener can be bound, or if another router has
    /// the control socket. `threads` serve visitors; programs of providers get `files` as their soft limit
    /// of open files.
    pub(crate) async fn start(
        config: Config,
        threads: usize,
        files: Option<u64>,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let started = std::time::Instant::now();
        let socket = match ControlSocket::bind(&config.control) {
            Ok(socket) => Some(socket),
            Err(error @ SocketError::Taken { .. }) => return Err(Error::new(error)),
            Err(error) => {
                tracing::error!("{error}; until then `drowse status` cannot reach this router");
                None
            }
        };
        // Clients can connect from here on; they wait in the kernel until the routes are loaded.
        let (proxy, listeners) = bind(&config, threads)?;

        let state_dir = open_state_dir(&config.state);
        let state = state_dir.as_ref().map(|state_dir| state_dir.directory().to_owned());
        let plugins = Arc::new(plugins(&config, state, files, runtime)?);
        let own = proxy.listening().iter().map(|listening| listening.address);
        plugins.set_listeners(own.collect());
        let engine = engine(&config, runtime)?;
        let tables = tables(&config, &engine)?;
        // A provider reports running instances as soon as it is added, so the saved ones are restored
        // first; schedules and visitors follow when instances and dependencies are known.
        let saved = SavedState::keep(state_dir, &engine, runtime);
        let pending = providers(&config, &plugins, &engine).await;
        engine.reconcile();
        engine.resynced(FIRST_LOOKS).await;
        engine.start_clock();
        let running = proxy
            .run(Arc::new(ArcSwap::from_pointee(tables)))
            .map_err(|error| Error::new(format!("cannot start the threads that serve: {error}")))?;
        for listening in running.listening() {
            let (listener, address) = (&listening.name, listening.address);
            tracing::info!(listener, %address, "listening");
        }

        let admin = socket.map(|socket| {
            tracing::info!(socket = %socket.path().display(), "control socket is open");
            let control = AdminControl {
                engine: engine.clone(),
                listeners,
                configuration: config.files().map(Path::to_owned).collect(),
                started,
            };
            Admin::start(socket, Arc::new(control), runtime)
        });
        Ok(Self { running, plugins, admin, pending, saved, _engine: engine })
    }

    /// How long [`Router::shutdown`] takes at most.
    pub(crate) fn longest_end(&self) -> Duration {
        LAST_REQUESTS
            + saved_state::LAST_WRITE
            + self.plugins.max_shutdown_time()
            + LAST_PROCESSES
            + LAST_WORDS
    }

    /// Lets requests finish, then ends everything. When `hurry` resolves, requests are cancelled and
    /// programs get [`HASTY_PROCESSES`] instead of their grace time.
    pub(crate) async fn shutdown(self, hurry: impl Future<Output = ()>) {
        let Self { running, plugins, admin, pending, saved, _engine } = self;
        tracing::info!("ending: no new visitors, requests in flight are finished");
        drop(pending);
        let mut hurry = std::pin::pin!(hurry);
        let mut hasty = false;
        tokio::select! {
            finished = running.shutdown(LAST_REQUESTS) => {
                if !finished {
                    let seconds = LAST_REQUESTS.as_secs();
                    tracing::warn!(seconds, "requests that had not ended were cut off");
                }
            }
            () = &mut hurry => {
                tracing::warn!("asked again: requests in flight are cut off");
                hasty = true;
            }
        }
        saved.end().await;
        let last_processes = plugins.max_shutdown_time() + LAST_PROCESSES;
        let stopped = tokio::time::timeout(last_processes, plugins.shutdown());
        let stopped = tokio::select! {
            stopped = stopped => stopped.is_ok(),
            () = at_once(hurry, hasty) => {
                tracing::warn!("asked again: programs that have not ended are killed");
                plugins.kill().await
            }
        };
        if !stopped {
            tracing::error!("providers did not stop all of their processes in time");
        }
        if let Some(admin) = admin {
            admin.end().await;
        }
        tracing::info!("ended");
    }
}

/// Resolves [`HASTY_PROCESSES`] after the hurry began.
async fn at_once(hurry: impl Future<Output = ()>, hasty: bool) {
    if !hasty {
        hurry.await;
    }
    tokio::time::sleep(HASTY_PROCESSES).await;
}

// === impl Admin ===

impl Admin {
    fn start(socket: ControlSocket, control: Arc<AdminControl>, runtime: &Handle) -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let served = runtime.spawn(drowse_admin::serve(socket, control, async {
            // A dropped sender ends it as well.
            let _ = ended.await;
        }));
        Self { end, served }
    }

    async fn end(self) {
        let Self { end, mut served } = self;
        // The receiver is gone if serving has ended by itself.
        let _ = end.send(());
        match tokio::time::timeout(LAST_WORDS, &mut served).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!("control socket: {error}"),
            Ok(Err(error)) => tracing::error!("control socket: {error}"),
            Err(_) => {
                // Removes the socket when it is dropped.
                served.abort();
                let _ = served.await;
            }
        }
    }
}

// === impl PendingProviders ===

impl Drop for PendingProviders {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// The engine with all workloads, before its providers are added.
fn engine(config: &Config, runtime: &Handle) -> Result<Arc<Engine>, Error> {
    let engine = Engine::new(EngineDeps {
        runtime: runtime.clone(),
        prober: Arc::new(NetProber::new()),
        journal: Arc::new(MemoryJournal::new(OPERATIONS)),
        clock: Arc::new(SystemTime::now),
    });
    for pool in &config.pools {
        engine.add_pool(pool.clone());
    }
    for provider in &config.providers {
        engine.expect_provider(provider.name.clone());
    }
    for spec in &config.workloads {
        engine.add_workload(spec.clone()).map_err(Error::new)?;
    }
    engine.connect().map_err(Error::new)?;
    Ok(engine)
}

/// The state directory, if it can be used.
fn open_state_dir(directory: &Path) -> Option<Arc<StateDir>> {
    let opened = StateDir::open(directory);
    let refused = |error: &io::Error| {
        tracing::warn!(
            "state directory {}: {error}; no state survives a restart: workloads that are found \
             running then stay awake until their first visit has ended",
            directory.display()
        );
    };
    opened.inspect_err(refused).ok().map(Arc::new)
}

/// The plugins of the providers. Programs that they run get `files` as their soft limit of open files, or
/// the router's own.
fn plugins(
    config: &Config,
    state: Option<PathBuf>,
    files: Option<u64>,
    runtime: &Handle,
) -> Result<Plugins, Error> {
    let plugins = Plugins::new(PluginsConfig {
        dir: Some(config.plugins.clone()),
        allow_dylib: config.allow_dylib,
        cache: config.cache.clone(),
        bundled: BUNDLED,
        trust: config.trust.clone(),
        state,
        launcher: Some(LAUNCHER.into()),
        limits: config.plugin_limits,
        files,
        runtime: runtime.clone(),
    });
    let plugins = plugins.map_err(Error::new)?;
    let configured = config.providers.iter().map(|provider| provider.name.to_string());
    plugins.kill_orphans(&configured.collect());
    Ok(plugins)
}

/// Loads all providers concurrently. The start does not wait for a slow one, so that visitors of the others
/// are served.
async fn providers(
    config: &Config,
    plugins: &Arc<Plugins>,
    engine: &Arc<Engine>,
) -> PendingProviders {
    let mut loading = JoinSet::new();
    for settings in config.providers.clone() {
        let plugins = plugins.clone();
        loading.spawn(async move { plugins.provider(settings).await });
    }
    let patience = tokio::time::Instant::now() + FIRST_PROVIDERS;
    while let Ok(Some(loaded)) = tokio::time::timeout_at(patience, loading.join_next()).await {
        if let Ok(provider) = loaded {
            engine.add_provider(provider);
        }
    }
    if loading.is_empty() {
        return PendingProviders(None);
    }
    tracing::warn!(
        missing = loading.len(),
        "providers are still being loaded; visitors of their workloads wait"
    );
    let engine = Arc::downgrade(engine);
    let pending = tokio::spawn(async move {
        while let Some(loaded) = loading.join_next().await {
            if let (Ok(provider), Some(engine)) = (loaded, engine.upgrade()) {
                engine.add_provider(provider);
                engine.reconcile();
            }
        }
    });
    PendingProviders(Some(pending.abort_handle()))
}

/// Binds all listeners that can be bound.
fn bind(config: &Config, threads: usize) -> Result<(Proxy, Vec<ListenerStatus>), Error> {
    if config.listeners.is_empty() {
        return Err(Error::new(
            "the configuration has no listener, so no visitor could connect; define one:\n\n\
             [[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"",
        ));
    }
    let (mut proxy, failed) = Proxy::bind(config.listeners.clone(), threads);
    if proxy.listening().is_empty() {
        let all: Vec<_> = failed.iter().map(BindError::to_string).collect();
        let all = all.join("\n\n");
        return Err(Error::new(format!(
            "no listener could be bound, so no visitor could connect: {all}"
        )));
    }
    for error in &failed {
        tracing::error!("{error}");
    }
    if let Err(error) = proxy.waiting(config.waiting.clone()) {
        tracing::error!("{error}; until that is fixed, visitors see the theme \"calm\"");
    }
    let listeners =
        config.listeners.iter().map(|settings| listener(settings, &proxy, &failed)).collect();
    Ok((proxy, listeners))
}

fn listener(settings: &ListenerSettings, proxy: &Proxy, failed: &[BindError]) -> ListenerStatus {
    let open = proxy.listening().iter().find(|listening| listening.name == settings.name);
    let problem = failed.iter().find(|error| error.listener == settings.name);
    ListenerStatus {
        name: settings.name.clone(),
        address: open.map_or(settings.bind, |open| open.address).to_string(),
        protocol: match settings.protocol {
            Protocol::Http => "http".to_owned(),
        },
        problem: problem.map(BindError::to_string),
    }
}

/// The routing tables, each route with its workload.
fn tables(config: &Config, engine: &Arc<Engine>) -> Result<Tables, Error> {
    let routes = config.routes.iter().filter_map(|route| {
        let workload = engine.workload(route.workload.as_str())?;
        Some((route.clone(), workload))
    });
    Tables::build(routes).map_err(|conflicts| {
        let all: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        Error::new(all.join("\n\n"))
    })
}
