//! Work that is due at a time: windows in which a workload is awake, alarms that wake it, and
//! regular status queries, because an event may be lost.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::{Engine, Workload, needs::Hold};
use crate::{
    journal::{Cause, Trigger},
    names::Phase,
    provider::{Ability, Provider},
    step::{Input, Stage},
};

/// Interval between status queries for an awake workload whose provider does not watch.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Interval between status queries for an awake workload whose provider watches, and for one that
/// is believed to sleep.
const SLOW_POLL_INTERVAL: Duration = Duration::from_secs(300);
/// Maximum sleeping workloads that are queried per turn and provider.
const MAX_SLEEPERS: usize = 32;
/// Maximum time between two readings of the wall clock, which may be set.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// A workload with windows or alarms.
struct ScheduledWorkload {
    workload: Arc<Workload>,
    /// Held while a window is open.
    held: Option<Hold>,
    next_alarm: Option<SystemTime>,
}

/// Runs until the engine ends.
pub(super) async fn run(engine: Weak<Engine>) {
    let Some(clock) = engine.upgrade().map(|engine| engine.shared.clock.clone()) else { return };
    let mut scheduled = match engine.upgrade() {
        Some(engine) => scheduled_workloads(&engine, clock()),
        None => return,
    };
    let mut before = clock();
    loop {
        let now = clock();
        if now + CLOCK_INTERVAL < before {
            // The clock was set back: the next alarm may be earlier than the one computed before.
            for one in &mut scheduled {
                one.next_alarm = next_alarm(&one.workload, now);
            }
        }
        before = now;
        let next = scheduled.iter_mut().filter_map(|one| one.run_due(now)).min();
        let next = next.and_then(|at| at.duration_since(now).ok()).unwrap_or(CLOCK_INTERVAL);
        tokio::time::sleep(next.min(CLOCK_INTERVAL)).await;
        let Some(engine) = engine.upgrade() else { return };
        poll_stale(&engine);
    }
}

fn scheduled_workloads(engine: &Engine, now: SystemTime) -> Vec<ScheduledWorkload> {
    let scheduled = engine.workloads().into_iter().filter(|workload| {
        let spec = workload.spec();
        !spec.awake.is_empty() || !spec.alarms.is_empty()
    });
    scheduled
        .map(|workload| {
            let next_alarm = next_alarm(&workload, now);
            ScheduledWorkload { workload, held: None, next_alarm }
        })
        .collect()
}

fn next_alarm(workload: &Workload, now: SystemTime) -> Option<SystemTime> {
    workload.spec().alarms.iter().filter_map(|alarm| alarm.next(now)).min()
}

/// Queries the status of every awake workload whose last query is too old, and of the sleeping
/// ones that were queried longest ago.
fn poll_stale(engine: &Engine) {
    let interval = |provider: Arc<dyn Provider>| {
        let watches = provider.state().abilities.contains(&Ability::Watch);
        (provider.name().clone(), if watches { SLOW_POLL_INTERVAL } else { POLL_INTERVAL })
    };
    let intervals: BTreeMap<_, _> = engine.providers().into_iter().map(interval).collect();
    let mut sleepers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for workload in engine.workloads() {
        let age = workload.since_last_poll();
        if age < POLL_INTERVAL {
            continue;
        }
        let snapshot = workload.snapshot();
        let Some(interval) = intervals.get(&workload.spec().provider) else { continue };
        match (snapshot.phase, snapshot.stage) {
            (Phase::Ready, _) | (Phase::Waking, Some(Stage::Probing(_))) if age >= *interval => {
                workload.poll();
            }
            (Phase::Asleep | Phase::Failed | Phase::Missing, _) if age >= SLOW_POLL_INTERVAL => {
                let provider = workload.spec().provider.clone();
                sleepers.entry(provider).or_default().push((Reverse(age), workload));
            }
            _ => {}
        }
    }
    for mut sleepers in sleepers.into_values() {
        sleepers.sort_by_key(|(age, _)| *age);
        sleepers.iter().take(MAX_SLEEPERS).for_each(|(_, workload)| workload.poll());
    }
}

// === impl ScheduledWorkload ===

impl ScheduledWorkload {
    /// Runs what is due, and returns when something is due next.
    fn run_due(&mut self, now: SystemTime) -> Option<SystemTime> {
        let spec = self.workload.spec();
        if self.next_alarm.is_some_and(|at| at <= now) {
            self.next_alarm = match self.workload.snapshot().retry_in() {
                // A wake would be refused during a cool-down.
                Some(cooldown) => Some(now + cooldown),
                None => {
                    let cause = Cause::new(Trigger::Schedule).with_reference("alarm");
                    self.workload.apply(Input::Wake(Arc::new(cause)));
                    next_alarm(&self.workload, now)
                }
            };
        }
        let windows = spec.awake.iter();
        let open = windows.clone().find_map(|window| Some((window, window.until(now)?)));
        match (&open, &self.held) {
            (Some((window, _)), None) => {
                let cause = Cause::new(Trigger::Schedule).with_reference(window.to_string());
                self.held = Some(Hold::take(self.workload.clone(), cause));
            }
            (None, Some(_)) => self.held = None,
            _ => {}
        }
        let next = match open {
            Some((_, until)) => Some(until),
            None => windows.filter_map(|window| window.next(now)).min(),
        };
        next.into_iter().chain(self.next_alarm).min()
    }
}
