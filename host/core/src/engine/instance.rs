//! Instances of a workload, for as long as connections lead to them.
//!
//! An instance is *open* while requests may be sent to it, *closed* when no new request may be, and
//! has *ended* when its provider says so: it does not run, another incarnation runs in its place,
//! or an address that leads to it is not its own any more. A closed instance may still answer what
//! it was sent: one that is stopping, or paused. Connections to one that has ended lead nowhere, or
//! to another workload.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    names::{Generation, Phase},
    provider::{Address, Observation, Status},
    step::{ReadyInstance, State},
};

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const ENDED: u8 = 2;

const STARTED: &str = "started-at";

/// One incarnation of a workload, from the opening of its gate on.
#[derive(Debug)]
pub struct Instance {
    life: ReadyInstance,
    /// [`OPEN`], [`CLOSED`] or [`ENDED`]; it never decreases.
    state: AtomicU8,
    closed: Notify,
    ended: Notify,
}

/// The instances of one workload that have not ended: the current one, and earlier ones that still
/// have visits inside.
#[derive(Debug, Default)]
pub(super) struct Instances(Vec<Arc<Instance>>);

// === impl Instance ===

impl Instance {
    pub(super) fn new(life: ReadyInstance) -> Self {
        Self { life, state: AtomicU8::new(OPEN), closed: Notify::new(), ended: Notify::new() }
    }

    /// Which generation of the workload it is.
    pub fn generation(&self) -> Generation {
        self.life.generation
    }

    /// What the provider said of it when the gate was opened.
    pub fn observation(&self) -> &Observation {
        &self.life.observation
    }

    /// A new request may be sent to it.
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// Its connections lead nowhere, or to another workload: not a byte may be written to them.
    pub fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// Resolves when no new request may be sent to it: a dial ends then.
    pub async fn closed(&self) {
        self.reached(CLOSED, &self.closed).await;
    }

    /// Resolves when it has ended. It wakes a task once, and may be polled once only by a task that
    /// asks [`has_ended`](Self::has_ended) by itself whenever it runs.
    pub async fn ended(&self) {
        self.reached(ENDED, &self.ended).await;
    }

    async fn reached(&self, state: u8, notify: &Notify) {
        let mut notified = pin!(notify.notified());
        // Registered before the state is read, so that no change is missed.
        notified.as_mut().enable();
        if self.state.load(Ordering::Acquire) < state {
            notified.await;
        }
    }

    pub(super) fn close(&self) {
        if self.state.fetch_max(CLOSED, Ordering::AcqRel) < CLOSED {
            self.closed.notify_waiters();
        }
    }

    pub(super) fn end(&self) {
        self.close();
        if self.state.fetch_max(ENDED, Ordering::AcqRel) < ENDED {
            self.ended.notify_waiters();
        }
    }

    /// Connections to it still lead to it, if the provider says this now.
    fn survives(&self, seen: &Observation) -> bool {
        let own = self.observation();
        let same = own.native_id == seen.native_id;
        match seen.status {
            Status::Stopped | Status::Failed | Status::Missing => false,
            Status::Running | Status::Starting => {
                same && own.attributes.get(STARTED) == seen.attributes.get(STARTED)
                    && used(&own.addresses).all(|address| seen.addresses.contains(address))
            }
            // Frozen, or about to end by itself; or a word that nobody knows.
            Status::Paused | Status::Stopping | Status::Other(_) => same,
        }
    }
}

/// The addresses that visits are led to: none behind the first that takes every port.
fn used(addresses: &[Address]) -> impl Iterator<Item = &Address> {
    let first = addresses.iter().position(|address| address.port.is_none());
    addresses.iter().take(first.map_or(addresses.len(), |first| first + 1))
}

// === impl Instances ===

impl Instances {
    pub(super) fn extend(&mut self, opened: Option<Arc<Instance>>) {
        self.0.extend(opened);
    }

    /// Those that have ended, if the provider says this now.
    pub(super) fn lost(&self, seen: &Observation) -> Vec<Generation> {
        let lost = self.0.iter().filter(|instance| !instance.survives(seen));
        lost.map(|instance| instance.generation()).collect()
    }

    /// Closes and ends those that the state does not lead to any more.
    pub(super) fn settle(&mut self, state: &State, lost: &[Generation]) {
        if self.0.is_empty() {
            return;
        }
        for instance in &self.0 {
            let generation = instance.generation();
            let (current, lost) = (generation == state.generation(), lost.contains(&generation));
            match state.phase() {
                // The phase machine has seen the same, and has kept it.
                Phase::Ready if current => {}
                // Those inside have the time to end.
                Phase::Draining if current && !lost => {}
                _ if lost => instance.end(),
                _ => instance.close(),
            }
        }
        // The workload itself holds the current one.
        self.0.retain(|instance| !instance.has_ended() && Arc::strong_count(instance) > 1);
    }
}
