#![allow(clippy::unwrap_used)]

use drowse_config::{Config, DefaultPaths};
use drowse_core::{
    Address, DialPolicy, EngineDeps, Generation, MemoryJournal, Prober, ReadyCheck, Trigger,
};
use drowse_plugins::{Plugins, PluginsConfig};
use tokio::runtime::Handle;

use super::*;

/// Never called, because the provider is not usable.
struct Blind;

#[async_trait]
impl Prober for Blind {
    async fn probe(&self, _: &ReadyCheck, _: &[Address], _: &dyn DialPolicy) -> Result<(), String> {
        Err("nothing is there".to_owned())
    }

    async fn players(&self, _: &[Address], _: u16, _: &dyn DialPolicy) -> Result<u32, String> {
        Err("nothing is there".to_owned())
    }
}

/// An operator's order with this wait.
fn order(action: Action, wait: Option<Duration>) -> OperationRequest {
    OperationRequest { action, wait, trigger: Trigger::Cli }
}

/// The control of a router with one workload, whose provider has no plugin.
async fn control(directory: &tempfile::TempDir) -> AdminControl {
    let toml = "[provider.none]\nplugin = \"there-is-no-such-plugin\"\n\
                [workload.blog]\nprovider = \"none\"\n";
    let config =
        Config::parse(vec![("drowse.toml".into(), toml.to_owned())], &DefaultPaths::default());
    let config = config.unwrap();
    let plugins = Plugins::new(PluginsConfig {
        dir: Some(directory.path().join("plugins")),
        allow_dylib: false,
        cache: directory.path().join("cache"),
        bundled: &[],
        trust: drowse_plugins::TrustPolicy::default(),
        state: None,
        launcher: None,
        limits: drowse_plugins::settings::PluginLimits::default(),
        files: None,
        runtime: Handle::current(),
    })
    .unwrap();
    let engine = Engine::new(EngineDeps {
        runtime: Handle::current(),
        prober: Arc::new(Blind),
        journal: Arc::new(MemoryJournal::new(100)),
        clock: Arc::new(std::time::SystemTime::now),
    });
    for settings in config.providers {
        engine.add_provider(plugins.provider(settings).await);
    }
    for spec in config.workloads {
        engine.add_workload(spec).unwrap();
    }
    AdminControl {
        engine,
        listeners: Vec::new(),
        configuration: vec!["drowse.toml".into()],
        started: Instant::now(),
    }
}

#[tokio::test]
async fn the_status_names_the_cause_of_an_unusable_provider() {
    let directory = tempfile::tempdir().unwrap();
    let status = control(&directory).await.status();
    let provider = &status.providers[0];
    assert!(!provider.state.usable);
    assert!(provider.state.cause.as_ref().unwrap().contains("there-is-no-such-plugin"));
    assert_eq!(status.workloads[0].name.as_str(), "blog");
}

#[tokio::test]
async fn a_wake_with_a_wait_returns_its_failure() {
    let directory = tempfile::tempdir().unwrap();
    let control = control(&directory).await;
    let wake = order(Action::Wake, Some(Duration::from_secs(30)));
    let failure = control.operate("blog", wake).await.unwrap_err();
    assert_ne!(failure.code, ErrorCode::Timeout, "{failure}");
    assert!(failure.message.contains("there-is-no-such-plugin"), "{failure}");
}

#[tokio::test]
async fn a_workload_that_sleeps_is_asleep_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let control = control(&directory).await;
    let sleep = order(Action::Sleep { force: false }, Some(Duration::from_secs(30)));
    let status = control.operate("blog", sleep).await.unwrap();
    assert_eq!(status.phase, Phase::Asleep);
}

#[tokio::test]
async fn an_unknown_workload_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let wake = order(Action::Wake, None);
    let failure = control(&directory).await.operate("wiki", wake).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotFound);
}

fn snapshot(phase: Phase, generation: u64, failure: Option<&Arc<Failure>>) -> Snapshot {
    Snapshot {
        phase,
        generation: Generation(generation),
        failure: failure.cloned(),
        since: Instant::now(),
        wake_wanted: false,
        rest_until: None,
        stage: None,
        expected: None,
        completed: None,
    }
}

#[test]
fn a_failure_from_before_does_not_answer_a_wake() {
    let old = Arc::new(Failure::new(ErrorCode::Timeout, "it was not ready within 3m"));
    let new = Arc::new(Failure::new(ErrorCode::Timeout, "it was not ready within 3m"));
    let before = snapshot(Phase::Failed, 3, Some(&old));
    assert_eq!(woken("blog", &before, &before), Progress::Going);
    assert_eq!(woken("blog", &before, &snapshot(Phase::Waking, 4, None)), Progress::Going);
    for now in [snapshot(Phase::Failed, 4, Some(&new)), snapshot(Phase::Failed, 3, Some(&new))] {
        assert_eq!(woken("blog", &before, &now), Progress::Failed((*new).clone()));
    }
    assert_eq!(woken("blog", &before, &snapshot(Phase::Ready, 4, None)), Progress::Done);
    let missing = snapshot(Phase::Missing, 1, None);
    assert_eq!(woken("blog", &missing, &missing), Progress::Going);
}

#[test]
fn a_failure_of_a_running_wake_answers_an_order_that_joined_it() {
    let failure = Arc::new(Failure::new(ErrorCode::Unavailable, "no engine"));
    let before = snapshot(Phase::Waking, 2, None);
    let now = snapshot(Phase::Failed, 2, Some(&failure));
    assert_eq!(woken("blog", &before, &now), Progress::Failed((*failure).clone()));
}

#[test]
fn a_sleep_that_a_visitor_ended_at_once_is_not_waited_for() {
    let before = snapshot(Phase::Ready, 3, None);
    for phase in [Phase::Ready, Phase::Draining, Phase::Stopping] {
        assert_eq!(asleep("blog", &before, &snapshot(phase, 3, None)), Progress::Going);
    }
    for phase in [Phase::Waking, Phase::Ready] {
        let Progress::Failed(failure) = asleep("blog", &before, &snapshot(phase, 4, None)) else {
            panic!("{phase} is waited for")
        };
        assert_eq!(failure.code, ErrorCode::Conflict);
        assert!(failure.message.contains("woken again"), "{failure}");
    }
    // A wake that the sleep itself cancelled.
    assert_eq!(asleep("blog", &before, &snapshot(Phase::Stopping, 4, None)), Progress::Going);
}

#[test]
fn a_restart_is_done_when_the_next_instance_is_ready() {
    let before = snapshot(Phase::Ready, 3, None);
    let restart = |now| renewed("blog", Renewal::Restart, &before, &now);
    for (phase, generation) in
        [(Phase::Ready, 3), (Phase::Draining, 3), (Phase::Stopping, 3), (Phase::Waking, 4)]
    {
        assert_eq!(restart(snapshot(phase, generation, None)), Progress::Going);
    }
    assert_eq!(restart(snapshot(Phase::Ready, 4, None)), Progress::Done);
    let failure = Arc::new(Failure::new(ErrorCode::Timeout, "it was not ready within 3m"));
    let failed = snapshot(Phase::Failed, 4, Some(&failure));
    assert_eq!(restart(failed), Progress::Failed((*failure).clone()));
    let Progress::Failed(failure) = restart(snapshot(Phase::Asleep, 3, None)) else {
        panic!("it is waited for")
    };
    assert!(failure.message.contains("put to sleep"), "{failure}");
}

#[test]
fn a_recreated_sleeping_workload_is_not_expected_to_wake() {
    let recreate = Renewal::Recreate { refresh: false };
    let before = snapshot(Phase::Asleep, 3, None);
    let progress = |phase| renewed("blog", recreate, &before, &snapshot(phase, 3, None));
    assert_eq!(progress(Phase::Stopping), Progress::Going);
    assert_eq!(progress(Phase::Asleep), Progress::Done);
    let before = snapshot(Phase::Ready, 3, None);
    let now = snapshot(Phase::Ready, 4, None);
    assert_eq!(renewed("blog", recreate, &before, &now), Progress::Done);
}
