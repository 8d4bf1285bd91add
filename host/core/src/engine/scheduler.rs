//! What happens because of the time: windows in which a workload is awake, alarms that wake it,
//! and the regular look at everything, as nothing may have told of a change.

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

/// A provider that does not watch is asked this often how its running workloads are.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// One that does is asked this often, as an event may be lost; and so is either for those that are
/// believed to sleep.
const SLOW_POLL_INTERVAL: Duration = Duration::from_secs(300);
/// So many of those that are believed to sleep are looked at in one turn, of each provider.
const SLEEPERS: usize = 32;
/// The wall clock may be set: it is looked at no less often than this.
const GLANCE: Duration = Duration::from_secs(30);

/// One workload that has times of its own.
struct ScheduledWorkload {
    workload: Arc<Workload>,
    /// It is awake because of a window.
    held: Option<Hold>,
    /// When its next alarm goes off.
    alarm: Option<SystemTime>,
}

/// Runs for as long as the engine lives.
pub(super) async fn run(engine: Weak<Engine>) {
    let Some(clock) = engine.upgrade().map(|engine| engine.shared.clock.clone()) else { return };
    let mut scheduled = match engine.upgrade() {
        Some(engine) => scheduled_workloads(&engine, clock()),
        None => return,
    };
    let mut before = clock();
    loop {
        let now = clock();
        if now + GLANCE < before {
            // It was set back: what was to come later may come sooner.
            scheduled
                .iter_mut()
                .for_each(|workload| workload.alarm = next_alarm(&workload.workload, now));
        }
        before = now;
        let next = scheduled.iter_mut().filter_map(|workload| workload.turn(now)).min();
        let next = next.and_then(|at| at.duration_since(now).ok()).unwrap_or(GLANCE);
        tokio::time::sleep(next.min(GLANCE)).await;
        let Some(engine) = engine.upgrade() else { return };
        poll_stale(&engine);
    }
}

fn scheduled_workloads(engine: &Engine, now: SystemTime) -> Vec<ScheduledWorkload> {
    let timed = engine.workloads().into_iter().filter(|workload| {
        let spec = workload.spec();
        !spec.awake.is_empty() || !spec.alarms.is_empty()
    });
    timed
        .map(|workload| {
            let alarm = next_alarm(&workload, now);
            ScheduledWorkload { workload, held: None, alarm }
        })
        .collect()
}

fn next_alarm(workload: &Workload, now: SystemTime) -> Option<SystemTime> {
    workload.spec().alarms.iter().filter_map(|alarm| alarm.next(now)).min()
}

/// Asks for what might have changed without anybody telling: for all that runs, and for some of
/// those that sleep, the longest unseen first.
fn poll_stale(engine: &Engine) {
    let pulse = |provider: Arc<dyn Provider>| {
        let watches = provider.state().abilities.contains(&Ability::Watch);
        (provider.name().clone(), if watches { SLOW_POLL_INTERVAL } else { POLL_INTERVAL })
    };
    let pulses: BTreeMap<_, _> = engine.providers().into_iter().map(pulse).collect();
    let mut sleepers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for workload in engine.workloads() {
        let unseen = workload.since_last_poll();
        if unseen < POLL_INTERVAL {
            continue;
        }
        let snapshot = workload.snapshot();
        let Some(pulse) = pulses.get(&workload.spec().provider) else { continue };
        match (snapshot.phase, snapshot.stage) {
            (Phase::Ready, _) | (Phase::Waking, Some(Stage::Probing(_))) if unseen >= *pulse => {
                workload.poll();
            }
            (Phase::Asleep | Phase::Failed | Phase::Missing, _) if unseen >= SLOW_POLL_INTERVAL => {
                let provider = workload.spec().provider.clone();
                sleepers.entry(provider).or_default().push((Reverse(unseen), workload));
            }
            _ => {}
        }
    }
    for mut sleepers in sleepers.into_values() {
        sleepers.sort_by_key(|(unseen, _)| *unseen);
        sleepers.iter().take(SLEEPERS).for_each(|(_, workload)| workload.poll());
    }
}

// === impl ScheduledWorkload ===

impl ScheduledWorkload {
    /// Does what is due, and says when something is due next.
    fn turn(&mut self, now: SystemTime) -> Option<SystemTime> {
        let spec = self.workload.spec();
        if self.alarm.is_some_and(|at| at <= now) {
            self.alarm = match self.workload.snapshot().retry_in() {
                // It would not be woken now.
                Some(rest) => Some(now + rest),
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
        next.into_iter().chain(self.alarm).min()
    }
}
