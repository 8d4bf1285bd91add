//! A pool: a ceiling that several workloads share, with slots, a queue for them, and eviction.
//!
//! A wake requests a slot before anything is started, together with slots for the dependencies
//! that belong to the same pool: all or none, so that no two wakes hold halves of what both need.
//! Among equal priorities the first request is served first. Without a free slot, unused members go
//! to sleep, by priority and then the longest idle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Workload, lock};
use crate::{
    journal::{Cause, Trigger},
    names::{Generation, Phase, PoolName, WorkloadName},
    provider::{ErrorCode, Failure, Reason},
    spec::PoolSpec,
    step::{Input, Operation},
};

/// Maximum interval between two attempts to evict while there is a shortfall.
const EVICTION_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time that a workload stays ready before it is evicted, so that the visitors that woke it
/// get in.
const MIN_READY: Duration = Duration::from_secs(2);

/// One pool.
pub(super) struct Pool {
    spec: PoolSpec,
    state: Mutex<State>,
    /// Notified when a request or a member changed.
    notify: Notify,
    /// Requests wait, or the pool is above its ceiling.
    has_pressure: AtomicBool,
}

/// The state of a pool for operators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: PoolName,
    /// Maximum slots.
    pub ceiling: Option<usize>,
    /// Slots taken, including those of workloads that are about to wake.
    pub awake: usize,
    /// Maximum memory in bytes.
    pub memory_ceiling: Option<u64>,
    /// Memory in use in bytes, as reported by the providers.
    pub memory: u64,
    /// Workloads that wait for a slot, the next one first.
    pub queue: Vec<WorkloadName>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<WorkloadName, Member>,
    /// In the order in which requests are served.
    queue: Vec<SlotRequest>,
    /// Positions in the queue have changed since they were last published.
    moved: bool,
}

/// A workload that uses a slot or memory.
struct Member {
    workload: Weak<Workload>,
    /// Workloads that keep the slot: itself, and dependents that requested it.
    claims: BTreeSet<WorkloadName>,
    /// It sleeps lightly: it uses memory, and a slot only if it is claimed.
    light: bool,
}

/// A request that waits in the queue.
struct SlotRequest {
    workload: Weak<Workload>,
    name: WorkloadName,
    generation: Generation,
    priority: i32,
    /// The workload and its dependencies in this pool.
    wanted: Vec<Arc<Workload>>,
}

/// Slots and bytes above the ceiling.
#[derive(Clone, Copy, Default, PartialEq)]
struct Shortfall {
    slots: usize,
    bytes: u64,
}

/// A member that might be evicted.
struct Candidate {
    workload: Arc<Workload>,
    has_slot: bool,
}

/// The next action of the pool, taken with nothing locked.
enum Action {
    Grant(Weak<Workload>, Generation),
    Evict(Shortfall, Vec<Candidate>, Cause),
    Wait,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(spec: PoolSpec) -> Arc<Self> {
        Arc::new(Self {
            spec,
            state: Mutex::default(),
            notify: Notify::new(),
            has_pressure: AtomicBool::new(false),
        })
    }

    pub(super) fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// Requests a slot. Granted at once when there is one and the queue is empty, refused at once
    /// when there can be none; else the answer follows by [`Workload::apply`].
    pub(super) fn request(
        &self,
        workload: &Arc<Workload>,
        generation: Generation,
    ) -> Option<Input> {
        let mut wanted = vec![workload.clone()];
        wanted.extend(workload.all_needs().into_iter().filter(|other| self.contains(other)));
        let mut state = lock(&self.state);
        if state.members.get(workload.name()).is_some_and(Member::has_slot) {
            state.claim(workload, &wanted);
            return Some(Input::SlotGranted(generation));
        }
        if let Err(failure) = self.check_ceiling(&wanted) {
            return Some(Input::SlotRefused(generation, failure));
        }
        if state.queue.is_empty() && self.fits(&state, &wanted) {
            state.claim(workload, &wanted);
            return Some(Input::SlotGranted(generation));
        }
        if state.queue.len() >= self.spec.max_queued {
            let (pool, waiting) = (&self.spec.name, state.queue.len());
            return Some(Input::SlotRefused(
                generation,
                Failure::new(
                    ErrorCode::Unavailable,
                    format!("pool {pool:?} is full, and {waiting} wakes wait for a slot already"),
                )
                .with_reason(Reason::PoolFull),
            ));
        }
        let priority = workload.membership().map_or(0, |membership| membership.priority);
        let at = state.queue.partition_point(|request| request.priority >= priority);
        let request = SlotRequest {
            workload: Arc::downgrade(workload),
            name: workload.name().clone(),
            generation,
            priority,
            wanted,
        };
        state.queue.insert(at, request);
        state.moved = true;
        let of = state.queue.len();
        drop(state);
        self.has_pressure.store(true, Ordering::Relaxed);
        self.notify.notify_one();
        Some(Input::QueuePosition(at + 1, of))
    }

    /// Takes a slot for a workload that runs already, even above the ceiling.
    pub(super) fn claim(&self, workload: &Arc<Workload>) {
        lock(&self.state).claim(workload, std::slice::from_ref(workload));
        self.notify.notify_one();
    }

    /// The workload sleeps lightly: it uses memory and no slot, and its request is withdrawn.
    pub(super) fn sleeps_lightly(&self, workload: &Workload) {
        let mut state = lock(&self.state);
        state.withdraw(workload.name());
        let member = state.members.entry(workload.name().clone());
        member.or_insert_with(|| Member::new(workload)).light = true;
        drop(state);
        self.notify.notify_one();
    }

    /// The workload uses nothing any more, and its request is withdrawn.
    pub(super) fn release(&self, workload: &Workload) {
        let mut state = lock(&self.state);
        if let Some(member) = state.members.get_mut(workload.name()) {
            member.light = false;
        }
        if workload.is_job() {
            state.unclaim(workload);
        }
        state.withdraw(workload.name());
        drop(state);
        self.notify.notify_one();
    }

    /// The last visit of a member ended, so it may be evicted now.
    pub(super) fn visit_ended(&self) {
        if self.has_pressure.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// The memory of a member was measured.
    pub(super) fn memory_changed(&self) {
        self.notify.notify_one();
    }

    pub(super) fn status(&self) -> PoolStatus {
        let state = lock(&self.state);
        PoolStatus {
            name: self.spec.name.clone(),
            ceiling: self.spec.max_awake,
            awake: state.slots(),
            memory_ceiling: self.spec.max_memory,
            memory: state.memory(),
            queue: state.queue.iter().map(|request| request.name.clone()).collect(),
        }
    }

    /// Serves the queue until the engine ends.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            let next = self.next_action();
            self.publish_positions();
            match next {
                Action::Grant(workload, generation) => {
                    if let Some(workload) = workload.upgrade() {
                        workload.apply(Input::SlotGranted(generation));
                    }
                }
                Action::Evict(shortfall, among, cause) => {
                    let cause = Arc::new(cause);
                    let (victims, next) = victims(shortfall, among);
                    for victim in victims {
                        victim.apply(Input::Evict(cause.clone()));
                    }
                    let pause = next.map_or(EVICTION_INTERVAL, |next| next.min(EVICTION_INTERVAL));
                    // Tried again in any case.
                    let _ = tokio::time::timeout(pause, self.notify.notified()).await;
                }
                Action::Wait => self.notify.notified().await,
            }
        }
    }

    fn next_action(&self) -> Action {
        let mut state = lock(&self.state);
        let Some(first) = state.queue.first() else {
            // Members found running, or with more memory than before, may exceed the ceiling.
            let shortfall = state.shortfall(&self.spec, &[]);
            let exceeds = shortfall != Shortfall::default();
            self.has_pressure.store(exceeds, Ordering::Relaxed);
            if !exceeds {
                return Action::Wait;
            }
            let cause = Cause::new(Trigger::Pool).with_reference(self.spec.name.as_str());
            return Action::Evict(shortfall, state.candidates(&[]), cause);
        };
        let shortfall = state.shortfall(&self.spec, &first.wanted);
        if shortfall != Shortfall::default() {
            let cause = Cause::new(Trigger::Pool).with_reference(first.name.as_str());
            return Action::Evict(shortfall, state.candidates(&first.wanted), cause);
        }
        let request = state.queue.remove(0);
        state.moved = true;
        if let Some(workload) = request.workload.upgrade() {
            state.claim(&workload, &request.wanted);
        }
        Action::Grant(request.workload, request.generation)
    }

    fn publish_positions(&self) {
        let mut state = lock(&self.state);
        if !std::mem::take(&mut state.moved) {
            return;
        }
        let waiting: Vec<_> = state.queue.iter().map(|request| request.workload.clone()).collect();
        drop(state);
        for (at, workload) in waiting.iter().enumerate() {
            if let Some(workload) = workload.upgrade() {
                workload.apply(Input::QueuePosition(at + 1, waiting.len()));
            }
        }
    }

    fn contains(&self, workload: &Workload) -> bool {
        workload.membership().is_some_and(|membership| membership.pool == self.spec.name)
    }

    fn fits(&self, state: &State, wanted: &[Arc<Workload>]) -> bool {
        state.shortfall(&self.spec, wanted) == Shortfall::default()
    }

    /// Fails when these workloads could not be awake together in an empty pool. Counts declared
    /// memory, because a measurement may be lower another time.
    fn check_ceiling(&self, wanted: &[Arc<Workload>]) -> Result<(), Failure> {
        let bytes = wanted.iter().map(|one| one.declared_memory()).fold(0, u64::saturating_add);
        let memory = self.spec.max_memory.is_none_or(|memory| bytes <= memory);
        if memory && self.spec.max_awake.is_none_or(|awake| wanted.len() <= awake) {
            return Ok(());
        }
        let names: Vec<_> = wanted.iter().map(|workload| workload.name().as_str()).collect();
        Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!(
                "{} cannot be awake together in pool {:?}: raise its ceiling",
                names.join(", "),
                self.spec.name
            ),
        ))
    }
}

// === impl State ===

impl State {
    fn claim(&mut self, claimant: &Workload, wanted: &[Arc<Workload>]) {
        for workload in wanted {
            let member = self.members.entry(workload.name().clone());
            let member = member.or_insert_with(|| Member::new(workload));
            member.claims.insert(claimant.name().clone());
            member.light &= workload.name() != claimant.name();
        }
    }

    /// Removes the claims and the request of a workload.
    fn withdraw(&mut self, claimant: &WorkloadName) {
        let waiting = self.queue.len();
        self.queue.retain(|request| request.name != *claimant);
        self.moved |= self.queue.len() != waiting;
        self.members.retain(|_, member| {
            member.claims.remove(claimant);
            member.light || member.has_slot()
        });
    }

    /// A job has ended: its claimants need neither its slot nor the slots of dependencies that only
    /// the job has.
    fn unclaim(&mut self, job: &Workload) {
        let Some(member) = self.members.get(job.name()) else { return };
        for claimant in member.claims.clone() {
            let dependent = self.members.get(&claimant).and_then(|one| one.workload.upgrade());
            let kept = dependent.map(|one| one.kept_awake()).unwrap_or_default();
            for (name, member) in &mut self.members {
                if *name != claimant && !kept.contains(name) {
                    member.claims.remove(&claimant);
                }
            }
        }
        self.members.retain(|_, member| member.light || member.has_slot());
    }

    fn slots(&self) -> usize {
        self.members.values().filter(|member| member.has_slot()).count()
    }

    fn memory(&self) -> u64 {
        let uses = |member: &Member| member.workload.upgrade().map_or(0, |one| one.memory());
        self.members.values().map(uses).fold(0, u64::saturating_add)
    }

    fn shortfall(&self, spec: &PoolSpec, wanted: &[Arc<Workload>]) -> Shortfall {
        let new =
            |one: &&Arc<Workload>| !self.members.get(one.name()).is_some_and(Member::has_slot);
        let slots = self.slots() + wanted.iter().filter(new).count();
        let bytes = spec.max_memory.filter(|_| self.is_shared(wanted)).map_or(0, |memory| {
            let unknown = |one: &&Arc<Workload>| !self.members.contains_key(one.name());
            let more = wanted.iter().filter(unknown).map(|one| one.memory());
            let more = more.fold(0, u64::saturating_add);
            self.memory().saturating_add(more).saturating_sub(memory)
        });
        Shortfall { slots: slots.saturating_sub(spec.max_awake.unwrap_or(usize::MAX)), bytes }
    }

    /// Whether an eviction could free memory for others. A workload that is alone in the pool keeps
    /// running, even if it was measured above the ceiling.
    fn is_shared(&self, wanted: &[Arc<Workload>]) -> bool {
        let is_wanted = |name: &WorkloadName| wanted.iter().any(|one| one.name() == name);
        match wanted.is_empty() {
            true => self.members.len() > 1,
            false => !self.members.keys().all(is_wanted),
        }
    }

    /// All members except `spared`.
    fn candidates(&self, spared: &[Arc<Workload>]) -> Vec<Candidate> {
        let candidate = |(name, member): (&WorkloadName, &Member)| {
            let is_spared = spared.iter().any(|one| one.name() == name);
            let workload = member.workload.upgrade().filter(|_| !is_spared)?;
            Some(Candidate { workload, has_slot: member.has_slot() })
        };
        self.members.iter().filter_map(candidate).collect()
    }
}

// === impl Member ===

impl Member {
    fn new(workload: &Workload) -> Self {
        Self { workload: workload.weak(), claims: BTreeSet::new(), light: false }
    }

    fn has_slot(&self) -> bool {
        !self.claims.is_empty()
    }
}

/// Workloads to evict for a shortfall, and the time until another one may be evicted. Members that
/// are going to sleep already count. Called with nothing locked, because workloads request slots
/// under their own lock.
fn victims(
    mut shortfall: Shortfall,
    among: Vec<Candidate>,
) -> (Vec<Arc<Workload>>, Option<Duration>) {
    let (mut evictable, mut next) = (Vec::new(), None::<Duration>);
    for candidate in among {
        let state = candidate.workload.state();
        let sleeps = state.operation().is_some_and(Operation::is_sleep);
        let light = candidate.workload.can_sleep_deeper(&state) && !candidate.has_slot;
        if sleeps || state.phase() == Phase::Draining {
            shortfall.shrink(&candidate);
            continue;
        }
        match candidate.workload.evictable_in(&state, MIN_READY) {
            Some(wait) if !wait.is_zero() => next = next.map_or(wait, |next| next.min(wait)).into(),
            None if !light => {}
            _ => evictable.push((candidate.workload.eviction_rank(), candidate)),
        }
    }
    evictable.sort_by_key(|(rank, _)| *rank);
    let mut victims = Vec::new();
    for (_, candidate) in evictable {
        if shortfall.bytes > 0 || shortfall.slots > 0 && candidate.has_slot {
            shortfall.shrink(&candidate);
            victims.push(candidate.workload);
        }
    }
    (victims, next)
}

// === impl Shortfall ===

impl Shortfall {
    fn shrink(&mut self, evicted: &Candidate) {
        self.slots = self.slots.saturating_sub(usize::from(evicted.has_slot));
        self.bytes = self.bytes.saturating_sub(evicted.workload.memory());
    }
}
