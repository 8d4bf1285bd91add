//! `drowse run`

use std::{num::NonZero, process, thread, time::Duration};

use drowse_config::{Config, DefaultPaths, Item};

use crate::{
    cli::Run, commands::runtime, descriptors::Descriptors, error::Error, locate, logging,
    router::Router, signals::Signals,
};

/// Time for remaining tasks when the router ends.
const LAST_TASKS: Duration = Duration::from_secs(1);
/// Time for the last log lines.
const LAST_LINES: Duration = Duration::from_millis(500);

pub(crate) fn run(asked: &Run) -> Result<(), Error> {
    let path = locate::config(&asked.config)?;
    let mut config = Config::load(&path, &DefaultPaths::of_this_user()).map_err(|errors| {
        Error::new(format!(
            "{errors}\n\nThe router did not start; `drowse check` checks the configuration again."
        ))
    })?;
    if let (None, Some(flaw)) = (&asked.log, logging::flaw(&config.log)) {
        return Err(Error::new(config.diagnostic(&Item::Log, flaw)));
    }
    logging::begin(asked.log.as_deref().unwrap_or(&config.log), asked.log_format)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = process::id(),
        configuration = %path.display(),
        "starting"
    );
    let threads =
        config.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let descriptors = Descriptors::raise();
    descriptors.share(&mut config, threads);

    let signals = Signals::listen()?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let router = tokio::select! {
            router = Router::start(config, threads, descriptors.programs, runtime.handle()) => router?,
            () = signals.end() => return Ok(()),
        };
        signals.limit(router.longest_end() + LAST_TASKS + LAST_LINES);
        signals.end().await;
        router.shutdown(signals.hasty_end()).await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_TASKS);
    logging::flush(LAST_LINES);
    if let Some(code) = signals.exit_code() {
        process::exit(code);
    }
    ended
}
