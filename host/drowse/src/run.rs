//! `drowse run`: the parts put together.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use arc_swap::ArcSwap;
use drowse_admin::{Admin, ControlSocket, ListenerStatus};
use drowse_config::Config;
use drowse_core::Engine;
use drowse_plugins::Plugins;
use drowse_proxy::{BindError, ListenerSettings, Listening, NetProber, Proxy, Tables};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use crate::{cli::RunOptions, home, logging};

/// Requests in flight have so long to end when the router does.
const GOODBYE: Duration = Duration::from_secs(10);

pub(crate) fn run(named: Option<&Path>, options: &RunOptions) -> Result<()> {
    let config = home::config(named)?;
    logging::begin(&config.log, options.log_format)?;
    let files: Vec<String> = config.files().map(|file| file.display().to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = files.join(", "), "drowse");
    let runtime = home::runtime()?;
    let plugins = home::plugins(&config, &runtime)?;
    runtime.block_on(serve(config, plugins, runtime.handle().clone()))
}

async fn serve(config: Config, plugins: Plugins, runtime: Handle) -> Result<()> {
    let control = ControlSocket::bind(&config.control)?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;

    let threads = config.threads.unwrap_or_else(cores);
    let (proxy, bound) = Proxy::bind(config.listeners.clone(), threads);
    let listeners = listeners(&config.listeners, &bound);
    if bound.iter().all(Result::is_err) {
        let causes: Vec<&str> = listeners.iter().filter_map(|l| l.cause.as_deref()).collect();
        bail!("no listener could be bound: {}", causes.join("; "));
    }

    let engine = Engine::new(runtime, Arc::new(NetProber::default()));
    let providers = config.providers.iter().map(|settings| plugins.provider(settings.clone()));
    for provider in futures_util::future::join_all(providers).await {
        engine.add_provider(provider);
    }
    for spec in &config.workloads {
        engine.add_workload(spec.clone())?;
    }
    let tables = tables(&config, &engine)?;
    engine.reconcile();

    let running = proxy.run(Arc::new(ArcSwap::from_pointee(tables)))?;
    let admin = tokio::spawn(drowse_admin::serve(control, Admin::new(engine.clone(), listeners)));
    tracing::info!(control = %config.control.display(), "ready");

    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "ending: requests in flight are waited for");
    running.shutdown(GOODBYE).await;
    admin.abort();
    // The socket's file goes with the task.
    let _ = admin.await;
    plugins.shutdown().await;
    tracing::info!("ended");
    Ok(())
}

fn tables(config: &Config, engine: &Engine) -> Result<Tables> {
    let mut routes = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let workload = engine
            .workload(route.workload.as_str())
            .with_context(|| format!("route to unknown workload {:?}", route.workload))?;
        routes.push((route.clone(), workload));
    }
    // The configuration was checked for conflicts with each route's place.
    Tables::build(routes).map_err(|conflicts| {
        let texts: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(texts.join("; "))
    })
}

fn listeners(
    settings: &[ListenerSettings],
    bound: &[Result<Listening, BindError>],
) -> Vec<ListenerStatus> {
    settings
        .iter()
        .zip(bound)
        .map(|(settings, bound)| {
            let (address, cause) = match bound {
                Ok(listening) => (Some(listening.address.to_string()), None),
                Err(error) => (None, Some(error.to_string())),
            };
            match (&address, &cause) {
                (_, Some(cause)) => tracing::error!(listener = settings.name, "{cause}"),
                (Some(address), _) => {
                    tracing::info!(listener = settings.name, %address, "listening");
                }
                (None, None) => {}
            }
            ListenerStatus {
                name: settings.name.clone(),
                bind: settings.bind.to_string(),
                bound: address,
                cause,
            }
        })
        .collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
