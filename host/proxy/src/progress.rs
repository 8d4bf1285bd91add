//! The progress of a wake as visitors may see it: without addresses and without messages for the
//! operator.

use std::sync::Arc;

use drowse_core::{
    ErrorCode, Failure, Generation, Phase, Reason, Snapshot, Stage, Until, Workload, WorkloadName,
};
use serde::Serialize;

use crate::format::seconds;

mod samples;

pub(crate) use samples::samples;

/// Maximum dependencies shown, over all levels.
const MAX_DEPENDENCIES: usize = 48;
/// Maximum levels of dependencies shown.
const MAX_LEVELS: usize = 6;

/// The state of a workload at one moment. Serialised for the waiting page's script and for
/// templates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Progress {
    pub(crate) workload: WorkloadName,
    pub(crate) phase: Phase,
    #[serde(skip)]
    pub(crate) generation: Generation,
    /// `queued`, `needs`, `starting` or `probing` during a wake.
    pub(crate) stage: Option<&'static str>,
    pub(crate) state: PageState,
    /// The page's heading.
    pub(crate) title: String,
    /// One or two sentences.
    pub(crate) message: String,
    /// Seconds since the wake began.
    pub(crate) elapsed: Option<f64>,
    /// The usual duration of a wake, in seconds.
    pub(crate) expected: Option<f64>,
    pub(crate) queue: Option<QueuePosition>,
    pub(crate) steps: Vec<Step>,
    pub(crate) needs: Vec<Dependency>,
    pub(crate) failure: Option<WakeFailure>,
    /// The workload's last log lines, if `[waiting] logs` shows them.
    #[serde(serialize_with = "list")]
    pub(crate) logs: Arc<[String]>,
}

/// The state of a page, which summarises the phases for a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PageState {
    Working,
    Ready,
    Failed,
    Asleep,
    /// The page of a rejected request. Never the state of a workload.
    Notice,
}

/// A position in the queue of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct QueuePosition {
    /// 1 is the next workload to be woken.
    pub(crate) position: usize,
    pub(crate) length: usize,
}

/// One step of a wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub(crate) message: &'static str,
    pub(crate) state: StepState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepState {
    Done,
    Now,
    Todo,
}

/// A workload that another workload needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Dependency {
    pub(crate) name: WorkloadName,
    pub(crate) state: PageState,
    pub(crate) message: &'static str,
    pub(crate) needs: Vec<Dependency>,
}

/// The reason of a failed wake, in general terms for visitors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WakeFailure {
    /// For programs: the failure's reason, or its stable code if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    pub(crate) reason: &'static str,
    /// Seconds until the next attempt; absent if the next visitor's request starts it.
    pub(crate) retry_in: Option<f64>,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn of(workload: &Arc<Workload>, logs: Arc<[String]>) -> Self {
        let snapshot = workload.snapshot();
        let pooled = workload.spec().pool.is_some();
        let mut room = MAX_DEPENDENCIES;
        let needs = dependencies(workload, &snapshot, MAX_LEVELS, &mut room);
        Self::new(workload.name(), &snapshot, pooled, needs, logs)
    }

    pub(crate) fn new(
        name: &WorkloadName,
        snapshot: &Snapshot,
        pooled: bool,
        needs: Vec<Dependency>,
        logs: Arc<[String]>,
    ) -> Self {
        let state = PageState::of(snapshot);
        let mut reason = reason(snapshot);
        if needs.iter().any(|need| need.state == PageState::Failed) {
            reason = NEED_FAILED;
        }
        let (title, message) = title_and_message(name, snapshot, state, reason);
        let waking = snapshot.phase == Phase::Waking;
        let failure = (state == PageState::Failed).then(|| WakeFailure {
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
            message,
            elapsed: waking.then(|| seconds(snapshot.since.elapsed())),
            expected: snapshot.expected.filter(|_| waking).map(seconds),
            queue: QueuePosition::of(snapshot),
            steps: if state == PageState::Asleep {
                Vec::new()
            } else {
                steps(snapshot, pooled, !needs.is_empty())
            },
            needs,
            failure,
            logs,
        }
    }

    /// Differs from `before` in more than the elapsed time.
    pub(crate) fn differs_from(&self, before: &Self) -> bool {
        let timeless = |progress: &Self| {
            let failure =
                progress.failure.clone().map(|failure| WakeFailure { retry_in: None, ..failure });
            Self { elapsed: None, failure, ..progress.clone() }
        };
        timeless(self) != timeless(before)
    }
}

const NEED_FAILED: &str = "An app that it needs could not be woken.";

/// The visitor's explanation of a failure. The failure's own message may name addresses and is for
/// the operator only.
pub(crate) fn explain(failure: &Failure) -> &'static str {
    match failure.reason {
        Some(Reason::Exited) => return "It was started and exited before it was ready.",
        Some(Reason::JobFailed) => return "It ran and exited with an error.",
        Some(Reason::PoolFull) => {
            return "The number of apps awake at a time is limited, and there was no room for it.";
        }
        Some(Reason::NeedFailed) => return NEED_FAILED,
        Some(Reason::Removed) => return "It was removed from the platform that runs it.",
        Some(Reason::RouterEnding) => return "The router is shutting down.",
        _ => {}
    }
    match failure.code {
        ErrorCode::Timeout => "It did not become ready in time.",
        ErrorCode::NotFound => "The platform that runs it does not know it.",
        ErrorCode::Unavailable => "The platform that runs it cannot be reached.",
        ErrorCode::Denied => "The router is not allowed to start it.",
        ErrorCode::Conflict => "Another operation on it is in progress.",
        ErrorCode::InvalidRequest | ErrorCode::Unsupported => {
            "The platform rejects its configuration."
        }
        _ => "An error occurred while it was started.",
    }
}

/// A failure's name in the API: its reason, or its stable code if it has none.
pub(crate) fn cause(failure: &Failure) -> String {
    match failure.reason {
        Some(reason) => reason.as_str().to_owned(),
        None => failure.code.as_str().into_owned(),
    }
}

/// A stage's name in the API.
pub(crate) fn stage(stage: &Stage) -> &'static str {
    match stage {
        Stage::Queued { .. } => "queued",
        Stage::Needs(_) => "needs",
        Stage::Probing(_) => "probing",
        _ => "starting",
    }
}

fn title_and_message(
    name: &WorkloadName,
    snapshot: &Snapshot,
    state: PageState,
    reason: &str,
) -> (String, String) {
    match snapshot.phase {
        Phase::Draining | Phase::Stopping if state == PageState::Asleep => {
            (format!("{name} is going to sleep"), "Try again to wake it.".to_owned())
        }
        Phase::Asleep => (format!("{name} is asleep"), "Try again to wake it.".to_owned()),
        Phase::Waking => (format!("{name} is waking up"), waking_message(snapshot.stage.as_ref())),
        Phase::Ready => (format!("{name} is ready"), "It is about to be shown here.".to_owned()),
        Phase::Draining | Phase::Stopping => (
            format!("{name} will be back in a moment"),
            "It was going to sleep. It is woken as soon as it has stopped.".to_owned(),
        ),
        Phase::Failed | Phase::Missing => (format!("{name} could not be woken"), reason.to_owned()),
    }
}

fn waking_message(stage: Option<&Stage>) -> String {
    match stage {
        Some(Stage::Queued { position: 1, .. }) => {
            "The number of apps awake at a time is limited. It is next in line.".to_owned()
        }
        Some(Stage::Queued { position, length, .. }) => {
            format!(
                "The number of apps awake at a time is limited. It is number {position} of {length} \
                 in line."
            )
        }
        Some(Stage::Needs(names)) => match &names[..] {
            [] => "All apps that it needs are ready.".to_owned(),
            [only] => format!("It needs {only}, which is woken first."),
            [first @ .., last] if names.len() <= 3 => {
                let first: Vec<_> = first.iter().map(WorkloadName::as_str).collect();
                format!("It needs {} and {last}, which are woken first.", first.join(", "))
            }
            names => format!("It needs {} others, which are woken first.", names.len()),
        },
        Some(Stage::Absent) => {
            "It is being recreated, and the new instance has not appeared yet.".to_owned()
        }
        Some(Stage::Probing(_)) => "It has started and is getting ready.".to_owned(),
        _ => "It was asleep and is being started.".to_owned(),
    }
}

fn reason(snapshot: &Snapshot) -> &'static str {
    match (&snapshot.failure, snapshot.phase) {
        (Some(failure), _) => explain(failure),
        (None, Phase::Missing) => "The platform that runs it does not know it.",
        (None, _) => "An error occurred while it was started.",
    }
}

/// The steps of the wake. Empty if none is under way.
fn steps(snapshot: &Snapshot, pooled: bool, has_needs: bool) -> Vec<Step> {
    let stopping = matches!(snapshot.phase, Phase::Draining | Phase::Stopping);
    let queued = matches!(snapshot.stage, Some(Stage::Queued { .. }));
    let all = [
        (stopping, "Waiting until it has stopped"),
        (pooled || queued, "Waiting in line"),
        (has_needs, "Waking the apps that it needs"),
        (true, "Starting it"),
        (true, "Waiting until it is ready"),
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
        .filter(|(_, (applies, _))| *applies)
        .map(|(index, (_, message))| {
            let state = match index.cmp(&now) {
                std::cmp::Ordering::Less => StepState::Done,
                std::cmp::Ordering::Equal => StepState::Now,
                std::cmp::Ordering::Greater => StepState::Todo,
            };
            Step { message, state }
        })
        .collect()
}

/// The dependencies of a workload, recursively.
fn dependencies(
    workload: &Workload,
    snapshot: &Snapshot,
    levels: usize,
    room: &mut usize,
) -> Vec<Dependency> {
    if levels == 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (need, until) in workload.needs() {
        if *room == 0 {
            break;
        }
        *room -= 1;
        let need_snapshot = need.snapshot();
        let needs = dependencies(&need, &need_snapshot, levels - 1, room);
        let (state, message) = match is_met(snapshot, need.name()) {
            true => (PageState::Ready, met_message(until)),
            false => unmet(&need_snapshot),
        };
        all.push(Dependency { name: need.name().clone(), state, message, needs });
    }
    all
}

/// The dependent no longer waits for this need.
fn is_met(dependent: &Snapshot, name: &WorkloadName) -> bool {
    match (dependent.phase, &dependent.stage) {
        (Phase::Ready, _) => true,
        (Phase::Waking, Some(Stage::Needs(names))) => !names.contains(name),
        (Phase::Waking, Some(Stage::Starting | Stage::Probing(_))) => true,
        _ => false,
    }
}

fn met_message(until: Until) -> &'static str {
    match until {
        Until::Started => "started",
        Until::Healthy => "ready",
        Until::Completed => "done",
    }
}

fn unmet(snapshot: &Snapshot) -> (PageState, &'static str) {
    let message = match (snapshot.phase, &snapshot.stage) {
        (Phase::Asleep, _) => "asleep",
        (Phase::Waking, Some(Stage::Queued { .. })) => "waiting in line",
        (Phase::Waking, Some(Stage::Needs(_))) => "waiting for its own needs",
        (Phase::Waking, Some(Stage::Probing(_))) => "started, not ready yet",
        (Phase::Waking, _) => "starting",
        (Phase::Ready, _) => "ready",
        (Phase::Draining | Phase::Stopping, _) if snapshot.wake_wanted => {
            "stopping, woken right after"
        }
        (Phase::Draining | Phase::Stopping, _) => "stopping",
        (Phase::Failed, _) => "could not be woken",
        (Phase::Missing, _) => "unknown to its platform",
    };
    (PageState::of(snapshot), message)
}

fn list<S: serde::Serializer>(lines: &Arc<[String]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(lines.iter())
}

// === impl QueuePosition ===

impl QueuePosition {
    pub(crate) fn of(snapshot: &Snapshot) -> Option<Self> {
        match snapshot.stage {
            Some(Stage::Queued { position, length, .. }) if snapshot.phase == Phase::Waking => {
                Some(Self { position, length })
            }
            _ => None,
        }
    }
}

// === impl PageState ===

impl PageState {
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
