//! Puts the parts together: listeners, routes, engine, providers, control socket.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use drowse_admin::{ControlSocket, ListenerStatus, SocketError};
use drowse_config::Config;
use drowse_core::{Engine, Ground, MemoryJournal};
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

/// Requests in flight have this long to end when the router ends.
const LAST_REQUESTS: Duration = Duration::from_secs(20);
/// Providers have this long to stop what they have started, on top of what it is granted to end.
const LAST_PROCESSES: Duration = Duration::from_secs(5);
/// Programs have this long instead of their grace when the router has to hurry.
const HASTY_PROCESSES: Duration = Duration::from_secs(1);
/// Somebody who asks for the status meanwhile has this long to get it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Providers that are loaded sooner than this are there when the first visitor is let in.
const FIRST_PROVIDERS: Duration = Duration::from_secs(3);
/// Platforms that tell sooner than this what runs are asked before the first visitor is let in.
const FIRST_LOOKS: Duration = Duration::from_secs(1);
/// So many operations are remembered.
const OPERATIONS: usize = 10_000;

/// Everything that runs.
pub(crate) struct Router {
    running: Running,
    plugins: Arc<Plugins>,
    admin: Option<Admin>,
    /// Brings the providers that are not there yet.
    pending: PendingProviders,
    saved: SavedState,
    /// What the workloads live in; nothing else may keep it.
    _engine: Arc<Engine>,
}

/// Providers that took too long to be waited for. Dropping it gives them up.
struct PendingProviders(Option<AbortHandle>);

/// The control socket being served.
struct Admin {
    end: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

// === impl Router ===

impl Router {
    /// Starts everything that can be started. Fails when no visitor could come in at all, or when
    /// another router has the control socket. Visitors are served by so many
    /// threads. Programs get this soft limit of open files.
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
        // Clients may connect from here on; they wait in the kernel until the routes are there.
        let (proxy, listeners) = bind(&config, threads)?;

        let state_dir = open_state_dir(&config.state);
        let state = state_dir.as_ref().map(|state_dir| state_dir.directory().to_owned());
        let plugins = Arc::new(plugins(&config, state, files, runtime)?);
        let own = proxy.listening().iter().map(|listening| listening.address);
        plugins.set_listeners(own.collect());
        let engine = engine(&config, runtime)?;
        let tables = tables(&config, &engine)?;
        // What runs is found as soon as there is a provider: the notes come first, times and
        // visitors when it is known what runs and what needs what.
        let saved = SavedState::keep(state_dir, &engine, runtime);
        let pending = providers(&config, &plugins, &engine).await;
        engine.reconcile();
        engine.surveyed(FIRST_LOOKS).await;
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
            + saved_state::LAST
            + self.plugins.max_shutdown_time()
            + LAST_PROCESSES
            + LAST_WORDS
    }

    /// Lets visitors finish, then ends everything. When `hurry` resolves, visitors are cut off and
    /// programs have a moment instead of their grace.
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

/// Resolves when a hasty end that is under way has given programs their moment, or when one is asked
/// for.
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
            // An end that was dropped is an end, too.
            let _ = ended.await;
        }));
        Self { end, served }
    }

    async fn end(self) {
        let Self { end, mut served } = self;
        // Nobody receives it when serving has ended by itself.
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

/// The engine with everything that sleeps and wakes, and nobody yet who does it.
fn engine(config: &Config, runtime: &Handle) -> Result<Arc<Engine>, Error> {
    let engine = Engine::new(Ground {
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
            "state directory {}: {error}; nothing is remembered over a restart: what is found \
             running then is kept until somebody has visited it",
            directory.display()
        );
    };
    opened.inspect_err(refused).ok().map(Arc::new)
}

/// The plugins that providers are made of. Programs that they run get this soft limit of open
/// files, or the router's own.
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

/// Loads all providers at the same time. One that takes long is not waited for: visitors of the
/// others come first.
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
        "providers are still being loaded; whoever wants their workloads waits for that"
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

/// Binds the listeners that can be bound.
fn bind(config: &Config, threads: usize) -> Result<(Proxy, Vec<ListenerStatus>), Error> {
    if config.listeners.is_empty() {
        return Err(Error::new(
            "the configuration has no listener, so nobody could come in; define one:\n\n\
             [[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"",
        ));
    }
    let (mut proxy, failed) = Proxy::bind(config.listeners.clone(), threads);
    if proxy.listening().is_empty() {
        let all: Vec<_> = failed.iter().map(BindError::to_string).collect();
        let all = all.join("\n\n");
        return Err(Error::new(format!(
            "no listener could be bound, so nobody could come in: {all}"
        )));
    }
    for error in &failed {
        tracing::error!("{error}");
    }
    if let Err(error) = proxy.waiting(config.waiting.clone()) {
        tracing::error!("{error}; until that is mended, visitors see the theme \"calm\"");
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

/// The routes, each leading to its workload.
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
