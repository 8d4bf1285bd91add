//! Instances of a workload, as long as connections lead to them.
//!
//! An instance is *open* while requests may be sent to it, *closed* when no new request may be
//! sent, and *ended* when its provider reports that it does not run, that another incarnation runs
//! in its place, or that an address of it is not its own any more. A closed instance, for example a
//! stopping or paused one, may still answer earlier requests. Connections to an ended instance
//! lead nowhere, or to another workload.

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
    provider::{Address, Observation, STARTED_AT, Status},
    step::{ReadyInstance, State},
};

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const ENDED: u8 = 2;

/// One incarnation of a workload, from the opening of its gate on.
#[derive(Debug)]
pub struct Instance {
    life: ReadyInstance,
    /// [`OPEN`], [`CLOSED`] or [`ENDED`]; never decreases.
    state: AtomicU8,
    closed: Notify,
    ended: Notify,
}

/// The instances of one workload that have not ended: the current one, and earlier ones with
/// visits inside.
#[derive(Debug, Default)]
pub(super) struct Instances(Vec<Arc<Instance>>);

// === impl Instance ===

impl Instance {
    pub(super) fn new(life: ReadyInstance) -> Self {
        Self { life, state: AtomicU8::new(OPEN), closed: Notify::new(), ended: Notify::new() }
    }

    /// The generation of the workload that it is.
    pub fn generation(&self) -> Generation {
        self.life.generation
    }

    /// The observation with which the gate was opened.
    pub fn observation(&self) -> &Observation {
        &self.life.observation
    }

    /// Returns whether a new request may be sent to it.
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// Whether its connections lead nowhere or to another workload, so that no byte may be written
    /// to them.
    pub fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// Resolves when no new request may be sent to it, which ends a dial.
    pub async fn closed(&self) {
        self.reached(CLOSED, &self.closed).await;
    }

    /// Resolves when it has ended. Wakes a task once; a task that checks
    /// [`has_ended`](Self::has_ended) whenever it runs may poll this once only.
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

    /// Returns whether connections to it still lead to it after this observation.
    fn survives(&self, seen: &Observation) -> bool {
        let own = self.observation();
        let same = own.native_id == seen.native_id;
        match seen.status {
            Status::Stopped | Status::Failed | Status::Missing => false,
            Status::Running | Status::Starting => {
                same && own.attributes.get(STARTED_AT) == seen.attributes.get(STARTED_AT)
                    && used(&own.addresses).all(|address| seen.addresses.contains(address))
            }
            // Frozen, about to end, or a status that this version does not know.
            Status::Paused | Status::Stopping | Status::Other(_) => same,
        }
    }
}

/// Addresses that visits may use: up to the first that serves every port.
fn used(addresses: &[Address]) -> impl Iterator<Item = &Address> {
    let first = addresses.iter().position(|address| address.port.is_none());
    addresses.iter().take(first.map_or(addresses.len(), |first| first + 1))
}

// === impl Instances ===

impl Instances {
    pub(super) fn extend(&mut self, opened: Option<Arc<Instance>>) {
        self.0.extend(opened);
    }

    /// Generations that have ended according to this observation.
    pub(super) fn lost(&self, seen: &Observation) -> Vec<Generation> {
        let lost = self.0.iter().filter(|instance| !instance.survives(seen));
        lost.map(|instance| instance.generation()).collect()
    }

    /// Closes or ends instances that the state does not lead to any more.
    pub(super) fn settle(&mut self, state: &State, lost: &[Generation]) {
        if self.0.is_empty() {
            return;
        }
        for instance in &self.0 {
            let generation = instance.generation();
            let (current, lost) = (generation == state.generation(), lost.contains(&generation));
            match state.phase() {
                // The phase machine has judged the same observation, and has kept it.
                Phase::Ready if current => {}
                // Visits inside have time to end.
                Phase::Draining if current && !lost => {}
                _ if lost => instance.end(),
                _ => instance.close(),
            }
        }
        // The workload itself holds the current one.
        self.0.retain(|instance| !instance.has_ended() && Arc::strong_count(instance) > 1);
    }
}
