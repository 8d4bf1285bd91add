//! Limits on how often visitors may wake a workload: per client, and for all clients together.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drowse_core::{Workload, WorkloadName};
use drowse_routes::rules::{Rate, WakeLimits};

use super::client_address::client_network;
use crate::format::exact;

/// Maximum clients with a history, per workload. When it is full, the client whose last wake is
/// oldest is dropped. Only clients that woke the workload have a history, so they are few.
const CLIENTS: usize = 4096;

/// The wake histories of all configured workloads with a limit.
#[derive(Default)]
pub(crate) struct WakeRateLimiter {
    histories: Mutex<HashMap<WorkloadName, WakeHistory>>,
}

/// The recent wakes of one workload.
#[derive(Default)]
struct WakeHistory {
    all: VecDeque<Instant>,
    clients: HashMap<IpAddr, VecDeque<Instant>>,
}

/// The wake would exceed a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    /// The limit is the one for a single client.
    per_client: bool,
    rate: Rate,
    /// Time until the limit permits one more wake.
    pub(crate) retry_after: Duration,
}

// === impl WakeRateLimiter ===

impl WakeRateLimiter {
    /// Charges the client for a wake and begins it by calling `wake`. Does neither while a wake is
    /// under way, or while the pause after a failed one lasts.
    pub(super) fn charge(
        &self,
        workload: &Arc<Workload>,
        limits: &WakeLimits,
        client: IpAddr,
        wake: impl FnOnce(),
    ) -> Result<(), LimitExceeded> {
        // Held over the wake: of many simultaneous requests one is charged.
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = workload.snapshot();
        if snapshot.is_coming() || snapshot.retry_in().is_some() {
            return Ok(());
        }
        let history = match histories.get_mut(workload.name()) {
            Some(history) => history,
            None => histories.entry(workload.name().clone()).or_default(),
        };
        history.charge(limits, client, Instant::now())?;
        wake();
        Ok(())
    }
}

// === impl WakeHistory ===

impl WakeHistory {
    /// Records one more wake if both limits permit it. A refused wake is charged to neither.
    fn charge(
        &mut self,
        limits: &WakeLimits,
        client: IpAddr,
        now: Instant,
    ) -> Result<(), LimitExceeded> {
        let key = client_network(client);
        if let Some(rate) = limits.client
            && let Some(times) = self.clients.get_mut(&key)
            && let Some(retry_after) = time_until_room(times, rate, now)
        {
            return Err(LimitExceeded { per_client: true, rate, retry_after });
        }
        if let Some(rate) = limits.all
            && let Some(retry_after) = time_until_room(&mut self.all, rate, now)
        {
            return Err(LimitExceeded { per_client: false, rate, retry_after });
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

    /// Drops expired clients, or the oldest one if none has expired.
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

/// Drops expired entries. Returns the time until there is room for one more, if there is none now.
fn time_until_room(times: &mut VecDeque<Instant>, rate: Rate, now: Instant) -> Option<Duration> {
    while times.front().is_some_and(|first| now.duration_since(*first) >= rate.per) {
        times.pop_front();
    }
    let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
    // There may be more entries than the limit after a reload has lowered it.
    let blocking = times.len().checked_sub(count)?;
    let oldest = times.get(blocking)?;
    Some(rate.per.saturating_sub(now.duration_since(*oldest)))
}

// === impl LimitExceeded ===

impl LimitExceeded {
    /// The explanation for the visitor.
    pub(crate) fn explain(&self, workload: &WorkloadName) -> String {
        let Self { per_client, rate: Rate { count, per }, .. } = self;
        let (per, times) = (exact(*per), if *count == 1 { "time" } else { "times" });
        if *per_client {
            format!(
                "You have woken {workload} {count} {times} within {per}, its limit for one client."
            )
        } else {
            format!("{workload} was woken {count} {times} within {per}, its limit for all clients.")
        }
    }
}

#[cfg(test)]
mod tests;
