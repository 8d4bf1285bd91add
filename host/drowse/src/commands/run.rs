//! `drowse run`

use std::time::Duration;

use drowse_config::{Config, Item, Places};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{cli::Run, commands::runtime, error::Error, locate, logging, router::Router};

/// Work that did not end by itself is abandoned after this long.
const LAST_TASKS: Duration = Duration::from_secs(1);

pub(crate) fn run(asked: &Run) -> Result<(), Error> {
    let path = locate::config(&asked.config)?;
    let config = Config::load(&path, &Places::of_this_user()).map_err(|mistakes| {
        Error::new(format!("{mistakes}\n\nNothing was started; `drowse check` looks again."))
    })?;
    if let (None, Some(flaw)) = (&asked.log, logging::flaw(&config.log)) {
        return Err(Error::new(config.mistake(&Item::Log, flaw)));
    }
    logging::begin(asked.log.as_deref().unwrap_or(&config.log), asked.log_format)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        configuration = %path.display(),
        "starting"
    );
    let connections = config.listeners.iter().map(|listener| listener.limits.connections);
    let files = raise_file_limit(connections.fold(0, usize::saturating_add));

    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        // From here on a signal is an orderly end.
        let mut signals = Signals::new()?;
        let router = tokio::select! {
            router = Router::start(config, files, runtime.handle()) => router?,
            () = signals.next() => return Ok(()),
        };
        signals.next().await;
        router.shutdown(signals.next()).await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_TASKS);
    ended
}

/// SIGTERM, SIGINT and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Absent when whoever started the router wants it to outlive its terminal, as `nohup` does.
    hangup: Option<Signal>,
}

// === impl Signals ===

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::new(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) },
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether SIGHUP was ignored from the start: the first bit of `SigIgn` in proc_pid_status(5).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|bits| bits.trim().chars().last()?.to_digit(16))
        .is_some_and(|bits| bits & 1 == 1)
}

/// Every visitor is a file or two. The usual soft limit is there for programs that use select(2), so
/// it is returned for those that the router runs. A limit that is too low for the connections that
/// the listeners take is told of.
fn raise_file_limit(connections: usize) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut files = current;
    if current != maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => files = maximum,
            Err(error) => {
                tracing::warn!(?current, %error, "cannot raise the limit of open files");
            }
        }
    }
    // The visitor's and the backend's.
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    if let Some(files) = files.filter(|files| *files < wanted) {
        tracing::warn!(
            files,
            connections,
            "fewer files may be open than the listeners' `connections` take, two for each: raise \
             the limit (LimitNOFILE= of the systemd unit, `ulimit -Hn` of the shell) or lower \
             `connections`"
        );
    }
    current
}
