//! Sample progress, with which themes are tested.

use std::sync::Arc;

use drowse_core::{Generation, Phase, WorkloadName};

use super::{Dependency, PageState, Progress, QueuePosition, Step, StepState, WakeFailure};

/// A sample with every field set, a failed wake, and a sample with no optional field.
pub(crate) fn samples() -> [Progress; 3] {
    let name = |name| WorkloadName::parse(name).expect("valid names");
    let empty = Progress {
        workload: name("blog"),
        phase: Phase::Asleep,
        generation: Generation(0),
        stage: None,
        state: PageState::Asleep,
        title: "blog is asleep".to_owned(),
        message: String::new(),
        elapsed: None,
        expected: None,
        queue: None,
        steps: Vec::new(),
        needs: Vec::new(),
        failure: None,
        logs: Arc::default(),
    };
    let cache = Dependency {
        name: name("cache"),
        state: PageState::Working,
        message: "starting",
        needs: Vec::new(),
    };
    let needs = vec![
        Dependency {
            name: name("db"),
            state: PageState::Ready,
            message: "ready",
            needs: vec![cache],
        },
        Dependency {
            name: name("mail"),
            state: PageState::Asleep,
            message: "asleep",
            needs: Vec::new(),
        },
    ];
    let full = Progress {
        phase: Phase::Waking,
        stage: Some("needs"),
        state: PageState::Working,
        elapsed: Some(3.5),
        expected: Some(12.0),
        queue: Some(QueuePosition { position: 2, length: 5 }),
        steps: vec![
            Step { message: "Waiting in line", state: StepState::Done },
            Step { message: "Waking the apps that it needs", state: StepState::Now },
            Step { message: "Starting it", state: StepState::Todo },
        ],
        needs: needs.clone(),
        logs: Arc::from(["<b>one</b>".to_owned(), "two".to_owned()]),
        ..empty.clone()
    };
    let failed = Progress {
        phase: Phase::Failed,
        state: PageState::Failed,
        needs,
        failure: Some(WakeFailure {
            cause: Some("timeout".to_owned()),
            reason: "It did not become ready in time.",
            retry_in: Some(9.0),
        }),
        ..empty.clone()
    };
    [full, failed, empty]
}
