//! How often a workload may be woken, by one client and by all.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drowse_core::{Cause, Workload, WorkloadName};
use drowse_routes::rules::{Rate, WakeLimits};

use crate::words::period;

/// Clients that are remembered for one workload. Each has woken it, so they are few; beyond that
/// the one that did so longest ago is forgotten.
const CLIENTS: usize = 4096;

/// Who has woken what. There is one ledger for each configured workload with a limit.
#[derive(Default)]
pub(crate) struct Limits {
    ledgers: Mutex<HashMap<WorkloadName, Ledger>>,
}

/// Who has woken one workload, and when.
#[derive(Default)]
struct Ledger {
    all: VecDeque<Instant>,
    clients: HashMap<IpAddr, VecDeque<Instant>>,
}

/// A wake that would be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// The limit is the client's own, not that of all together.
    client: bool,
    rate: Rate,
    /// After so long there is room for one more.
    pub(crate) again: Duration,
}

// === impl Limits ===

impl Limits {
    /// Wakes the workload for this client and counts it. When somebody's wake is coming already,
    /// or the last one has failed a moment ago, there is nothing to wake and nothing to pay.
    pub(crate) fn wake(
        &self,
        workload: &Arc<Workload>,
        limits: &WakeLimits,
        client: IpAddr,
        cause: impl FnOnce() -> Cause,
    ) -> Result<(), Over> {
        // Held over the wake, so that of many who come at once one pays for it.
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = workload.snapshot();
        if now.is_coming() || now.retry_in().is_some() {
            return Ok(());
        }
        let ledger = match ledgers.get_mut(workload.name()) {
            Some(ledger) => ledger,
            None => ledgers.entry(workload.name().clone()).or_default(),
        };
        ledger.charge(limits, client, Instant::now())?;
        workload.wake(cause());
        Ok(())
    }
}

// === impl Ledger ===

impl Ledger {
    /// Notes one more wake, or says why there may be none. Both limits are asked before either
    /// is charged.
    fn charge(&mut self, limits: &WakeLimits, client: IpAddr, now: Instant) -> Result<(), Over> {
        let key = network(client);
        if let Some(rate) = limits.client
            && let Some(times) = self.clients.get_mut(&key)
            && let Some(again) = full(times, rate, now)
        {
            return Err(Over { client: true, rate, again });
        }
        if let Some(rate) = limits.all
            && let Some(again) = full(&mut self.all, rate, now)
        {
            return Err(Over { client: false, rate, again });
        }
        if limits.all.is_some() {
            self.all.push_back(now);
        }
        if let Some(rate) = limits.client {
            if self.clients.len() >= CLIENTS && !self.clients.contains_key(&key) {
                self.make_room(rate, now);
            }
            self.clients.entry(key).or_default().push_back(now);
        }
        Ok(())
    }

    fn make_room(&mut self, rate: Rate, now: Instant) {
        let last = |times: &VecDeque<Instant>| times.back().copied();
        self.clients
            .retain(|_, times| last(times).is_some_and(|last| now.duration_since(last) < rate.per));
        if self.clients.len() >= CLIENTS
            && let Some(oldest) = self.clients.iter().min_by_key(|(_, times)| last(times))
        {
            let oldest = *oldest.0;
            self.clients.remove(&oldest);
        }
    }
}

/// Forgets what is too long ago, and says after how long there is room again if there is none.
fn full(times: &mut VecDeque<Instant>, rate: Rate, now: Instant) -> Option<Duration> {
    while times.front().is_some_and(|first| now.duration_since(*first) >= rate.per) {
        times.pop_front();
    }
    let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
    // There may be more than the limit when it was lowered.
    let blocking = times.len().checked_sub(count)?;
    let oldest = times.get(blocking)?;
    Some(rate.per.saturating_sub(now.duration_since(*oldest)))
}

/// What counts as one client: an IPv4 address, or the network that one IPv6 subscriber has.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

// === impl Over ===

impl Over {
    /// For the visitor.
    pub(crate) fn explain(&self, workload: &WorkloadName) -> String {
        let Self { client, rate: Rate { count, per }, .. } = self;
        let (per, times) = (period(*per), if *count == 1 { "time" } else { "times" });
        if *client {
            format!(
                "You have woken {workload} {count} {times} within {per}, its limit for one client."
            )
        } else {
            format!(
                "{workload} was woken {count} {times} within {per}, its limit for all together."
            )
        }
    }
}

#[cfg(test)]
mod tests;
