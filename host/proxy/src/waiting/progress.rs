//! What a waiting visitor may know of a workload at one moment: no address, no message that was
//! meant for the operator.

use std::sync::Arc;

use drowse_core::{
    ErrorCode, Failure, Generation, Phase, Reason, Snapshot, Stage, Until, Workload, WorkloadName,
};
use serde::Serialize;

use crate::words::seconds;

/// Dependencies that are shown, over all levels.
const NEEDS: usize = 48;
/// Levels of dependencies that are shown.
const LEVELS: usize = 6;

/// One moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Progress {
    pub(crate) workload: WorkloadName,
    pub(crate) phase: Phase,
    #[serde(skip)]
    pub(crate) generation: Generation,
    /// `queued`, `needs`, `starting` or `probing` while it is waking.
    pub(crate) stage: Option<&'static str>,
    pub(crate) state: Outlook,
    /// A heading and a sentence or two.
    pub(crate) title: String,
    pub(crate) says: String,
    /// Seconds since the wake began.
    pub(crate) elapsed: Option<f64>,
    /// Seconds that a wake usually takes.
    pub(crate) expected: Option<f64>,
    pub(crate) queue: Option<Queue>,
    pub(crate) steps: Vec<Step>,
    pub(crate) needs: Vec<Needed>,
    pub(crate) failure: Option<Setback>,
    /// Its last log lines, if the operator shows them.
    #[serde(serialize_with = "list")]
    pub(crate) logs: Arc<[String]>,
}

/// What the phases come to for somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outlook {
    Working,
    Ready,
    Failed,
    Asleep,
    /// Of an answer that is about the request and not about a wake. No workload is in it.
    Notice,
}

/// The place in the line of those that want to be awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Queue {
    /// 1 is the next.
    pub(crate) place: usize,
    pub(crate) of: usize,
}

/// One step of a wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub(crate) says: &'static str,
    pub(crate) state: StepState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepState {
    Done,
    Now,
    Todo,
}

/// A workload that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Needed {
    pub(crate) name: WorkloadName,
    pub(crate) state: Outlook,
    pub(crate) says: &'static str,
    pub(crate) needs: Vec<Needed>,
}

/// Why a wake went wrong, in words for visitors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Setback {
    /// For programs: the reason of the failure, else its stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    pub(crate) reason: &'static str,
    /// Seconds until it is tried again; absent when the next visitor's try is the next.
    pub(crate) retry_in: Option<f64>,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn of(workload: &Arc<Workload>, logs: Arc<[String]>) -> Self {
        let snapshot = workload.snapshot();
        let pooled = workload.spec().pool.is_some();
        let mut room = NEEDS;
        let needs = needed(workload, &snapshot, LEVELS, &mut room);
        Self::new(workload.name(), &snapshot, pooled, needs, logs)
    }

    pub(crate) fn new(
        name: &WorkloadName,
        snapshot: &Snapshot,
        pooled: bool,
        needs: Vec<Needed>,
        logs: Arc<[String]>,
    ) -> Self {
        let state = Outlook::of(snapshot);
        let mut reason = reason(snapshot);
        if needs.iter().any(|need| need.state == Outlook::Failed) {
            reason = "Something that it needs could not be woken.";
        }
        let (title, says) = words(name, snapshot, state, reason);
        let waking = snapshot.phase == Phase::Waking;
        let failure = (state == Outlook::Failed).then(|| Setback {
            cause: snapshot.failure.as_deref().map(cause),
            reason,
            retry_in: snapshot.retry_in().map(seconds),
        });
        Self {
            workload: name.clone(),
            phase: snapshot.phase,
            generation: snapshot.generation,
            stage: snapshot.stage.as_ref().filter(|_| waking).map(stage),
            state,
            title,
            says,
            elapsed: waking.then(|| seconds(snapshot.since.elapsed())),
            expected: snapshot.expected.filter(|_| waking).map(seconds),
            queue: Queue::of(snapshot),
            steps: if state == Outlook::Asleep {
                Vec::new()
            } else {
                steps(snapshot, pooled, !needs.is_empty())
            },
            needs,
            failure,
            logs,
        }
    }

    /// Says something that `before` did not; the time that passes is no news.
    pub(crate) fn is_news_after(&self, before: &Self) -> bool {
        let timeless = |progress: &Self| {
            let failure =
                progress.failure.clone().map(|failure| Setback { retry_in: None, ..failure });
            Self { elapsed: None, failure, ..progress.clone() }
        };
        timeless(self) != timeless(before)
    }
}

/// What happened, for visitors: what exactly may name addresses and belongs to the operator.
pub(crate) fn explain(failure: &Failure) -> &'static str {
    match failure.reason {
        Some(Reason::Exited) => return "It was started and ended before it was ready.",
        Some(Reason::JobFailed) => return "It ran and ended with an error.",
        Some(Reason::PoolFull) => {
            return "Only so many may be awake at a time, and there was no place for it.";
        }
        Some(Reason::NeedFailed) => return "Something that it needs could not be woken.",
        Some(Reason::Removed) => return "It was removed from the platform that runs it.",
        Some(Reason::RouterEnding) => return "The router is about to end.",
        _ => {}
    }
    match failure.code {
        ErrorCode::Timeout => "It did not become ready in time.",
        ErrorCode::NotFound => "The platform that runs it does not know it.",
        ErrorCode::Unavailable => "The platform that runs it cannot be reached.",
        ErrorCode::Denied => "The router is not allowed to start it.",
        ErrorCode::Conflict => "Somebody else is working on it.",
        ErrorCode::InvalidRequest | ErrorCode::Unsupported => "Its configuration does not work.",
        _ => "Something went wrong while it was started.",
    }
}

/// The word of a failure in the API: its reason, else its stable code.
pub(crate) fn cause(failure: &Failure) -> String {
    match failure.reason {
        Some(reason) => reason.as_str().to_owned(),
        None => failure.code.as_str().into_owned(),
    }
}

/// The word of a stage in the API.
pub(crate) fn stage(stage: &Stage) -> &'static str {
    match stage {
        Stage::Queued { .. } => "queued",
        Stage::Needs(_) => "needs",
        Stage::Probing(_) => "probing",
        _ => "starting",
    }
}

fn words(
    name: &WorkloadName,
    snapshot: &Snapshot,
    state: Outlook,
    reason: &str,
) -> (String, String) {
    match snapshot.phase {
        Phase::Draining | Phase::Stopping if state == Outlook::Asleep => {
            (format!("{name} is going to sleep"), "Try again to wake it.".to_owned())
        }
        Phase::Asleep => (format!("{name} is asleep"), "Try again to wake it.".to_owned()),
        Phase::Waking => (format!("{name} is waking up"), waking(snapshot.stage.as_ref())),
        Phase::Ready => (format!("{name} is ready"), "It is about to be shown here.".to_owned()),
        Phase::Draining | Phase::Stopping => (
            format!("{name} will be back in a moment"),
            "It was about to go to sleep. It is woken as soon as it has stopped.".to_owned(),
        ),
        Phase::Failed | Phase::Missing => (format!("{name} could not be woken"), reason.to_owned()),
    }
}

fn waking(stage: Option<&Stage>) -> String {
    match stage {
        Some(Stage::Queued { position: 1, .. }) => {
            "Only so many may be awake at a time. It is the next one.".to_owned()
        }
        Some(Stage::Queued { position: place, length: of, .. }) => {
            format!("Only so many may be awake at a time. It is number {place} of {of} in line.")
        }
        Some(Stage::Needs(names)) => match &names[..] {
            [] => "What it needs is ready.".to_owned(),
            [only] => format!("It needs {only}, which is woken first."),
            [first @ .., last] if names.len() <= 3 => {
                let first: Vec<_> = first.iter().map(WorkloadName::as_str).collect();
                format!("It needs {} and {last}, which are woken first.", first.join(", "))
            }
            names => format!("It needs {} others, which are woken first.", names.len()),
        },
        Some(Stage::Absent) => "It is being replaced, and a new one is waited for.".to_owned(),
        Some(Stage::Probing(_)) => "It was started and is getting ready to answer.".to_owned(),
        _ => "It was asleep and is being started.".to_owned(),
    }
}

fn reason(snapshot: &Snapshot) -> &'static str {
    match (&snapshot.failure, snapshot.phase) {
        (Some(failure), _) => explain(failure),
        (None, Phase::Missing) => "The platform that runs it does not know it.",
        (None, _) => "Something went wrong while it was started.",
    }
}

/// What has been done, is done and is to be done.
fn steps(snapshot: &Snapshot, pooled: bool, needy: bool) -> Vec<Step> {
    let stopping = matches!(snapshot.phase, Phase::Draining | Phase::Stopping);
    let queued = matches!(snapshot.stage, Some(Stage::Queued { .. }));
    let all = [
        (stopping, "Letting it stop"),
        (pooled || queued, "Waiting for a place"),
        (needy, "Waking what it needs"),
        (true, "Starting it"),
        (true, "Waiting until it answers"),
    ];
    let now = match (snapshot.phase, &snapshot.stage) {
        (Phase::Draining | Phase::Stopping, _) => 0,
        (Phase::Waking, Some(Stage::Queued { .. })) => 1,
        (Phase::Waking, Some(Stage::Needs(_))) => 2,
        (Phase::Waking, Some(Stage::Probing(_))) => 4,
        (Phase::Waking, _) => 3,
        (Phase::Ready, _) => all.len(),
        (Phase::Asleep | Phase::Failed | Phase::Missing, _) => return Vec::new(),
    };
    all.into_iter()
        .enumerate()
        .filter(|(_, (there, _))| *there)
        .map(|(index, (_, says))| {
            let state = match index.cmp(&now) {
                std::cmp::Ordering::Less => StepState::Done,
                std::cmp::Ordering::Equal => StepState::Now,
                std::cmp::Ordering::Greater => StepState::Todo,
            };
            Step { says, state }
        })
        .collect()
}

/// What a workload needs, and what that needs.
fn needed(
    workload: &Workload,
    snapshot: &Snapshot,
    levels: usize,
    room: &mut usize,
) -> Vec<Needed> {
    if levels == 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (need, until) in workload.needs() {
        if *room == 0 {
            break;
        }
        *room -= 1;
        let there = need.snapshot();
        let needs = needed(&need, &there, levels - 1, room);
        let met = met(snapshot, need.name());
        let (state, says) = if met { (Outlook::Ready, done(until)) } else { of_need(&there) };
        all.push(Needed { name: need.name().clone(), state, says, needs });
    }
    all
}

/// The dependent does not wait for it any more.
fn met(dependent: &Snapshot, name: &WorkloadName) -> bool {
    match (dependent.phase, &dependent.stage) {
        (Phase::Ready, _) => true,
        (Phase::Waking, Some(Stage::Needs(names))) => !names.contains(name),
        (Phase::Waking, Some(Stage::Starting | Stage::Probing(_))) => true,
        _ => false,
    }
}

fn done(until: Until) -> &'static str {
    match until {
        Until::Started => "started",
        Until::Healthy => "ready",
        Until::Completed => "done",
    }
}

fn of_need(snapshot: &Snapshot) -> (Outlook, &'static str) {
    let says = match (snapshot.phase, &snapshot.stage) {
        (Phase::Asleep, _) => "asleep",
        (Phase::Waking, Some(Stage::Queued { .. })) => "waiting for a place",
        (Phase::Waking, Some(Stage::Needs(_))) => "waiting for what it needs",
        (Phase::Waking, Some(Stage::Probing(_))) => "started, not ready yet",
        (Phase::Waking, _) => "starting",
        (Phase::Ready, _) => "ready",
        (Phase::Draining | Phase::Stopping, _) if snapshot.wake_wanted => {
            "stopping, woken right after"
        }
        (Phase::Draining | Phase::Stopping, _) => "stopping",
        (Phase::Failed, _) => "could not be woken",
        (Phase::Missing, _) => "not known to its platform",
    };
    (Outlook::of(snapshot), says)
}

fn list<S: serde::Serializer>(lines: &Arc<[String]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(lines.iter())
}

// === impl Queue ===

impl Queue {
    pub(crate) fn of(snapshot: &Snapshot) -> Option<Self> {
        match snapshot.stage {
            Some(Stage::Queued { position: place, length: of, .. })
                if snapshot.phase == Phase::Waking =>
            {
                Some(Self { place, of })
            }
            _ => None,
        }
    }
}

// === impl Outlook ===

impl Outlook {
    fn of(snapshot: &Snapshot) -> Self {
        match snapshot.phase {
            Phase::Draining | Phase::Stopping if !snapshot.wake_wanted => Self::Asleep,
            Phase::Asleep => Self::Asleep,
            Phase::Waking | Phase::Draining | Phase::Stopping => Self::Working,
            Phase::Ready => Self::Ready,
            Phase::Failed | Phase::Missing => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
