//! The router's file descriptors and their distribution.
//!
//! A visitor costs up to three descriptors: its own connection, one to its backend, and one to a
//! backend that an earlier visitor left idle. If the process runs out of them, no operator
//! can connect and no provider reaches its platform. So some are reserved, and listeners accept only as
//! many connections as the rest allows; more visitors wait in the kernel.

use drowse_config::Config;
use drowse_proxy::{IDLE_UPSTREAMS, ListenerSettings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(test)]
mod tests;

/// Maximum descriptors per client connection.
const PER_CONNECTION: u64 = 3;
/// Reserved descriptors for the log, state, control socket and its clients, plugin files and runtimes.
const BASE: u64 = 48;
/// Reserved descriptors per serving thread: its runtime, and one client per listener that waits for
/// capacity.
const PER_THREAD: u64 = 6;
/// Reserved descriptors per provider: connections to its endpoints, and the launcher of its next program.
const PER_PROVIDER: u64 = 12;
/// Reserved descriptors per granted program: its output, and its launcher while it starts.
const PER_COMMAND: u64 = 3;
/// Maximum descriptors for backends, including idle connections. Waiting and idle clients have none.
const UPSTREAMS: u64 = 2 * IDLE_UPSTREAMS as u64;
/// Minimum number of client connections, even if the limit allows fewer.
const FEWEST: u64 = 16;

/// The limits of open files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// The soft limit at start, which programs of providers get: they may use select(2), which needs a
    /// low limit. None for no limit.
    pub(crate) programs: Option<u64>,
    /// The router's own limit. None for no limit.
    files: Option<u64>,
}

/// A listener whose connections were lowered below its configuration.
#[derive(Debug, PartialEq, Eq)]
struct Lowered {
    listener: String,
    from: usize,
    to: usize,
}

// === impl Descriptors ===

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub(crate) fn raise() -> Self {
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
        Self { programs: current, files }
    }

    /// Lowers the `max-connections` of listeners to what the limit allows, and logs that.
    pub(crate) fn share(self, config: &mut Config, threads: usize) {
        let Some(files) = self.files else { return };
        let kept = kept(config, threads);
        for Lowered { listener, from, to } in lower(&mut config.listeners, files, kept) {
            tracing::warn!(
                listener,
                files,
                kept,
                "connections lowered from {from} to {to}: no more fit into the limit of open files; \
                 raise the limit (LimitNOFILE= of the systemd unit, `ulimit -Hn` of the shell) or \
                 set the listener's `max-connections`"
            );
        }
    }
}

/// The number of reserved descriptors.
fn kept(config: &Config, threads: usize) -> u64 {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (threads, listeners) = (count(threads), count(config.listeners.len()));
    // Per thread and listener a socket, and the client that waits for capacity.
    let serving = threads.saturating_mul(listeners.saturating_mul(2).saturating_add(PER_THREAD));
    let commands = config.providers.iter().map(|provider| provider.commands.len()).sum();
    let providers = count(config.providers.len()).saturating_mul(PER_PROVIDER);
    let programs = count(commands).saturating_mul(PER_COMMAND);
    [serving, providers, programs].into_iter().fold(BASE, u64::saturating_add)
}

/// Distributes `files`, except those that are `kept`, among the listeners in proportion to their
/// configuration.
fn lower(listeners: &mut [ListenerSettings], files: u64, kept: u64) -> Vec<Lowered> {
    let room = files.saturating_sub(kept);
    let room = (room / PER_CONNECTION).max(room.saturating_sub(UPSTREAMS)).max(FEWEST);
    let wanted: u64 = listeners
        .iter()
        .map(|listener| u64::try_from(listener.limits.connections).unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add);
    if wanted <= room {
        return Vec::new();
    }
    let share = |from: usize| {
        let share = u128::from(room) * (from as u128) / u128::from(wanted);
        usize::try_from(share).unwrap_or(usize::MAX).clamp(1, from.max(1))
    };
    let lowered = listeners.iter_mut().filter_map(|listener| {
        let from = listener.limits.connections;
        let to = share(from);
        listener.limits.connections = to;
        (to < from).then(|| Lowered { listener: listener.name.clone(), from, to })
    });
    lowered.collect()
}
