//! A ceiling that some workloads share: who has a place, who waits for one, who must go.
//!
//! A place is asked for by a wake before anything is started, together with places for whatever
//! it needs of the same pool: all or none, so that no two wakes can hold halves of what both
//! need. Who asks first is served first among equals. When there is no place, those that nobody
//! uses go to sleep, the least important first, then the longest idle.

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

/// While there is no room the pool looks this often for somebody who may go, though nothing is
/// known to have changed.
const ROUND: Duration = Duration::from_secs(1);
/// One that has just become ready stays so long, so that whoever woke it gets in.
const STAY: Duration = Duration::from_secs(2);

/// One pool.
pub(super) struct Pool {
    spec: PoolSpec,
    state: Mutex<State>,
    notify: Notify,
    /// Somebody waits, or more are awake than may be.
    has_pressure: AtomicBool,
}

/// A pool as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: PoolName,
    /// So many may be awake.
    pub ceiling: Option<usize>,
    /// So many places are taken: by those that are awake, and for those that are about to be.
    pub awake: usize,
    /// So many bytes may be in use.
    pub memory_ceiling: Option<u64>,
    /// So many are, by the providers' word.
    pub memory: u64,
    /// Who waits for a place, the next one first.
    pub queue: Vec<WorkloadName>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<WorkloadName, Member>,
    /// In the order in which they are served.
    queue: Vec<Ask>,
    /// Those in the queue do not know their places.
    moved: bool,
}

/// One that uses a place, or memory.
struct Member {
    workload: Weak<Workload>,
    /// Who keeps the place: itself, and those that need it and have asked for it.
    claims: BTreeSet<WorkloadName>,
    /// It sleeps lightly: it uses memory, and a place only if somebody claims one for it.
    light: bool,
}

/// One that waits.
struct Ask {
    workload: Weak<Workload>,
    name: WorkloadName,
    generation: Generation,
    priority: i32,
    /// It and what it needs of this pool.
    wanted: Vec<Arc<Workload>>,
}

/// How many places and bytes too few there are.
#[derive(Clone, Copy, Default, PartialEq)]
struct Shortfall {
    places: usize,
    bytes: u64,
}

/// One that uses something, for whoever looks for somebody to go.
struct Candidate {
    workload: Arc<Workload>,
    place: bool,
}

/// What the pool does next, once nothing is locked.
enum Action {
    Let(Weak<Workload>, Generation),
    /// Find room, for this reason.
    MakeRoom(Shortfall, Vec<Candidate>, Cause),
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

    /// Asks for a place. The answer is there at once when there is one and nobody waits, or when
    /// there is none to be had.
    pub(super) fn ask(&self, workload: &Arc<Workload>, generation: Generation) -> Option<Input> {
        let mut wanted = vec![workload.clone()];
        wanted.extend(workload.all_needs().into_iter().filter(|other| self.is_mine(other)));
        let mut state = lock(&self.state);
        if state.members.get(workload.name()).is_some_and(Member::has_place) {
            state.claim(workload, &wanted);
            return Some(Input::SlotGranted(generation));
        }
        if let Err(failure) = self.could_ever_fit(&wanted) {
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
                    format!("pool {pool:?} is full, and {waiting} wait for a place already"),
                )
                .with_reason(Reason::PoolFull),
            ));
        }
        let priority = workload.membership().map_or(0, |membership| membership.priority);
        let at = state.queue.partition_point(|ask| ask.priority >= priority);
        let ask = Ask {
            workload: Arc::downgrade(workload),
            name: workload.name().clone(),
            generation,
            priority,
            wanted,
        };
        state.queue.insert(at, ask);
        state.moved = true;
        let of = state.queue.len();
        drop(state);
        self.has_pressure.store(true, Ordering::Relaxed);
        self.notify.notify_one();
        Some(Input::QueuePosition(at + 1, of))
    }

    /// It runs already, and has a place whether there is one or not.
    pub(super) fn claim(&self, workload: &Arc<Workload>) {
        lock(&self.state).claim(workload, std::slice::from_ref(workload));
        self.notify.notify_one();
    }

    /// It sleeps lightly: it uses memory, but no place, and asks for none any more.
    pub(super) fn light(&self, workload: &Workload) {
        let mut state = lock(&self.state);
        state.leave(workload.name());
        let member = state.members.entry(workload.name().clone());
        member.or_insert_with(|| Member::new(workload)).light = true;
        drop(state);
        self.notify.notify_one();
    }

    /// It uses nothing any more, and asks for nothing.
    pub(super) fn give_back(&self, workload: &Workload) {
        let mut state = lock(&self.state);
        if let Some(member) = state.members.get_mut(workload.name()) {
            member.light = false;
        }
        if workload.is_job() {
            state.unclaim(workload);
        }
        state.leave(workload.name());
        drop(state);
        self.notify.notify_one();
    }

    /// Somebody went to where nobody is inside: it may be the one that makes room.
    pub(super) fn visit_ended(&self) {
        if self.has_pressure.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Somebody uses another amount of memory than before.
    pub(super) fn memory_changed(&self) {
        self.notify.notify_one();
    }

    pub(super) fn status(&self) -> PoolStatus {
        let state = lock(&self.state);
        PoolStatus {
            name: self.spec.name.clone(),
            ceiling: self.spec.max_awake,
            awake: state.members.values().filter(|member| member.has_place()).count(),
            memory_ceiling: self.spec.max_memory,
            memory: state.memory(),
            queue: state.queue.iter().map(|ask| ask.name.clone()).collect(),
        }
    }

    /// Serves those that wait, for as long as the engine lives.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            let next = self.next_move();
            self.publish_positions();
            match next {
                Action::Let(workload, generation) => {
                    if let Some(workload) = workload.upgrade() {
                        workload.apply(Input::SlotGranted(generation));
                    }
                }
                Action::MakeRoom(lack, among, cause) => {
                    let cause = Arc::new(cause);
                    let (victims, next) = victims(lack, among);
                    for victim in victims {
                        victim.apply(Input::Evict(cause.clone()));
                    }
                    let round = next.map_or(ROUND, |next| next.min(ROUND));
                    // Over either way.
                    let _ = tokio::time::timeout(round, self.notify.notified()).await;
                }
                Action::Wait => self.notify.notified().await,
            }
        }
    }

    fn next_move(&self) -> Action {
        let mut state = lock(&self.state);
        let Some(first) = state.queue.first() else {
            // More are awake than may be if they ran when they were found, or have grown.
            let lack = state.lack(&self.spec, &[]);
            let surplus = lack != Shortfall::default();
            self.has_pressure.store(surplus, Ordering::Relaxed);
            if !surplus {
                return Action::Wait;
            }
            let cause = Cause::new(Trigger::Pool).with_reference(self.spec.name.as_str());
            return Action::MakeRoom(lack, state.among(&[]), cause);
        };
        let lack = state.lack(&self.spec, &first.wanted);
        if lack != Shortfall::default() {
            let cause = Cause::new(Trigger::Pool).with_reference(first.name.as_str());
            return Action::MakeRoom(lack, state.among(&first.wanted), cause);
        }
        let ask = state.queue.remove(0);
        state.moved = true;
        if let Some(workload) = ask.workload.upgrade() {
            state.claim(&workload, &ask.wanted);
        }
        Action::Let(ask.workload, ask.generation)
    }

    fn publish_positions(&self) {
        let mut state = lock(&self.state);
        if !std::mem::take(&mut state.moved) {
            return;
        }
        let asks: Vec<_> = state.queue.iter().map(|ask| ask.workload.clone()).collect();
        drop(state);
        for (at, workload) in asks.iter().enumerate() {
            if let Some(workload) = workload.upgrade() {
                workload.apply(Input::QueuePosition(at + 1, asks.len()));
            }
        }
    }

    fn is_mine(&self, workload: &Workload) -> bool {
        workload.membership().is_some_and(|membership| membership.pool == self.spec.name)
    }

    fn fits(&self, state: &State, wanted: &[Arc<Workload>]) -> bool {
        state.lack(&self.spec, wanted) == Shortfall::default()
    }

    /// By the operator's word: what was measured once may be less another time.
    fn could_ever_fit(&self, wanted: &[Arc<Workload>]) -> Result<(), Failure> {
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

    /// Takes back everything this one has claimed or asked for.
    fn leave(&mut self, claimant: &WorkloadName) {
        let waiting = self.queue.len();
        self.queue.retain(|ask| ask.name != *claimant);
        self.moved |= self.queue.len() != waiting;
        self.members.retain(|_, member| {
            member.claims.remove(claimant);
            member.light || member.has_place()
        });
    }

    /// A job has ended: those that have claimed a place for it need that no more, nor the places
    /// for what only the job needs.
    fn unclaim(&mut self, job: &Workload) {
        let Some(member) = self.members.get(job.name()) else { return };
        for claimant in member.claims.clone() {
            let asked = self.members.get(&claimant).and_then(|member| member.workload.upgrade());
            let kept: BTreeSet<_> = asked.map(|one| one.kept_awake()).unwrap_or_default();
            for (name, member) in &mut self.members {
                if *name != claimant && !kept.contains(name) {
                    member.claims.remove(&claimant);
                }
            }
        }
        self.members.retain(|_, member| member.light || member.has_place());
    }

    fn memory(&self) -> u64 {
        let uses = |member: &Member| member.workload.upgrade().map_or(0, |one| one.memory());
        self.members.values().map(uses).fold(0, u64::saturating_add)
    }

    fn lack(&self, spec: &PoolSpec, wanted: &[Arc<Workload>]) -> Shortfall {
        let awake = self.members.values().filter(|member| member.has_place()).count();
        let new =
            |one: &&Arc<Workload>| !self.members.get(one.name()).is_some_and(Member::has_place);
        let places = awake + wanted.iter().filter(new).count();
        let bytes = spec.max_memory.filter(|_| self.shares(wanted)).map_or(0, |memory| {
            let unknown = |one: &&Arc<Workload>| !self.members.contains_key(one.name());
            let more = wanted.iter().filter(unknown).map(|one| one.memory());
            let more = more.fold(0, u64::saturating_add);
            self.memory().saturating_add(more).saturating_sub(memory)
        });
        Shortfall { places: places.saturating_sub(spec.max_awake.unwrap_or(usize::MAX)), bytes }
    }

    /// Somebody's going could help the others: one that is alone has all the memory there is,
    /// even if it was seen to use more than there may be.
    fn shares(&self, wanted: &[Arc<Workload>]) -> bool {
        let is_wanted = |name: &WorkloadName| wanted.iter().any(|one| one.name() == name);
        match wanted.is_empty() {
            true => self.members.len() > 1,
            false => !self.members.keys().all(is_wanted),
        }
    }

    /// All that use something, but for these.
    fn among(&self, spared: &[Arc<Workload>]) -> Vec<Candidate> {
        let candidate = |(name, member): (&WorkloadName, &Member)| {
            let is_spared = spared.iter().any(|one| one.name() == name);
            let workload = member.workload.upgrade().filter(|_| !is_spared)?;
            Some(Candidate { workload, place: member.has_place() })
        };
        self.members.iter().filter_map(candidate).collect()
    }
}

// === impl Member ===

impl Member {
    fn new(workload: &Workload) -> Self {
        Self { workload: workload.weak(), claims: BTreeSet::new(), light: false }
    }

    fn has_place(&self) -> bool {
        !self.claims.is_empty()
    }
}

/// Who goes so that there is what is lacking, and when the next one may go. Those that are on
/// their way already count. Called with nothing locked, as workloads ask for places with
/// themselves locked.
fn victims(mut lack: Shortfall, among: Vec<Candidate>) -> (Vec<Arc<Workload>>, Option<Duration>) {
    let (mut willing, mut next) = (Vec::new(), None::<Duration>);
    for candidate in among {
        let state = candidate.workload.state();
        let sleeps = state.operation().is_some_and(Operation::is_sleep);
        let light = candidate.workload.can_sleep_deeper(&state) && !candidate.place;
        if sleeps || state.phase() == Phase::Draining {
            lack.shrink(&candidate);
            continue;
        }
        match candidate.workload.evictable_in(&state, STAY) {
            Some(wait) if !wait.is_zero() => next = next.map_or(wait, |next| next.min(wait)).into(),
            None if !light => {}
            _ => willing.push((candidate.workload.rank(), candidate)),
        }
    }
    willing.sort_by_key(|(rank, _)| *rank);
    let mut victims = Vec::new();
    for (_, candidate) in willing {
        if lack.bytes > 0 || lack.places > 0 && candidate.place {
            lack.shrink(&candidate);
            victims.push(candidate.workload);
        }
    }
    (victims, next)
}

// === impl Shortfall ===

impl Shortfall {
    fn shrink(&mut self, going: &Candidate) {
        self.places = self.places.saturating_sub(usize::from(going.place));
        self.bytes = self.bytes.saturating_sub(going.workload.memory());
    }
}
