//! Moments of made-up wakes, to try a theme with.

use std::sync::Arc;

use drowse_core::{Generation, Phase, WorkloadName};

use super::progress::{Needed, Outlook, Progress, Queue, Setback, Step, StepState};

/// One with everything, a failed one, and one with nothing.
pub(crate) fn samples() -> [Progress; 3] {
    let name = |name| WorkloadName::parse(name).expect("these are names");
    let empty = Progress {
        workload: name("blog"),
        phase: Phase::Asleep,
        generation: Generation(0),
        stage: None,
        state: Outlook::Asleep,
        title: "blog is asleep".to_owned(),
        says: String::new(),
        elapsed: None,
        expected: None,
        queue: None,
        steps: Vec::new(),
        needs: Vec::new(),
        failure: None,
        logs: Arc::default(),
    };
    let cache = Needed {
        name: name("cache"),
        state: Outlook::Working,
        says: "starting",
        needs: Vec::new(),
    };
    let needs = vec![
        Needed { name: name("db"), state: Outlook::Ready, says: "ready", needs: vec![cache] },
        Needed { name: name("mail"), state: Outlook::Asleep, says: "asleep", needs: Vec::new() },
    ];
    let full = Progress {
        phase: Phase::Waking,
        stage: Some("needs"),
        state: Outlook::Working,
        elapsed: Some(3.5),
        expected: Some(12.0),
        queue: Some(Queue { place: 2, of: 5 }),
        steps: vec![
            Step { says: "Waiting for a place", state: StepState::Done },
            Step { says: "Waking what it needs", state: StepState::Now },
            Step { says: "Starting it", state: StepState::Todo },
        ],
        needs: needs.clone(),
        logs: Arc::from(["<b>one</b>".to_owned(), "two".to_owned()]),
        ..empty.clone()
    };
    let failed = Progress {
        phase: Phase::Failed,
        state: Outlook::Failed,
        needs,
        failure: Some(Setback {
            cause: Some("timeout".to_owned()),
            reason: "It did not become ready in time.",
            retry_in: Some(9.0),
        }),
        ..empty.clone()
    };
    [full, failed, empty]
}
