#![allow(clippy::unwrap_used)]

use drowse_config::{Config, Places};
use drowse_core::{Address, Ground, MemoryJournal, Prober, ReadyCheck, Source};
use drowse_plugins::PluginsConfig;
use tokio::runtime::Handle;

use super::*;

/// Never asked: the provider cannot be used.
struct Blind;

#[async_trait]
impl Prober for Blind {
    async fn probe(&self, _: &ReadyCheck, _: &[Address]) -> Result<(), String> {
        Err("nothing is there".to_owned())
    }

    async fn players(&self, _: &[Address], _: u16) -> Result<u32, String> {
        Err("nothing is there".to_owned())
    }
}

/// An operator's, with this wait.
fn order(wait: Option<Duration>) -> Order {
    Order { wait, force: false, source: Source::Cli }
}

/// A desk over a router with one workload, whose provider has no plugin.
async fn desk(directory: &tempfile::TempDir) -> Desk {
    let toml = "[provider.none]\nplugin = \"there-is-no-such-plugin\"\n\
                [workload.blog]\nprovider = \"none\"\n";
    let config = Config::parse(vec![("drowse.toml".into(), toml.to_owned())], &Places::default());
    let config = config.unwrap();
    let plugins = Arc::new(
        Plugins::new(PluginsConfig {
            dir: Some(directory.path().join("plugins")),
            cache: directory.path().join("cache"),
            bundled: &[],
            runtime: Handle::current(),
        })
        .unwrap(),
    );
    let engine = Engine::new(Ground {
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
    Desk {
        engine,
        plugins,
        listeners: Vec::new(),
        configuration: vec!["drowse.toml".into()],
        started: Instant::now(),
    }
}

#[tokio::test]
async fn the_status_names_what_is_wrong_with_a_provider() {
    let directory = tempfile::tempdir().unwrap();
    let status = desk(&directory).await.status();
    let provider = &status.providers[0];
    assert!(!provider.state.usable);
    assert!(provider.state.cause.as_ref().unwrap().contains("there-is-no-such-plugin"));
    assert_eq!(status.workloads[0].name.as_str(), "blog");
}

#[tokio::test]
async fn a_wake_that_is_waited_for_says_why_it_failed() {
    let directory = tempfile::tempdir().unwrap();
    let desk = desk(&directory).await;
    let failure = desk.wake("blog", order(Some(Duration::from_secs(30)))).await.unwrap_err();
    assert_ne!(failure.code, ErrorCode::Timeout, "{failure}");
    assert!(failure.message.contains("there-is-no-such-plugin"), "{failure}");
}

#[tokio::test]
async fn a_workload_that_sleeps_is_asleep_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let desk = desk(&directory).await;
    let status = desk.sleep("blog", order(Some(Duration::from_secs(30)))).await.unwrap();
    assert_eq!(status.phase, Phase::Asleep);
}

#[tokio::test]
async fn a_workload_that_nobody_knows_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let failure = desk(&directory).await.wake("wiki", None).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotFound);
}
