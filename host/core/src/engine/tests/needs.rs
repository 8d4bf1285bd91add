//! Dependencies: the order of starts and sleeps, and failures.

use super::*;
use crate::{provider::Status, step::Stage};

/// `web` needs `db`.
fn pair() -> World {
    World::new(vec![spec("db"), spec_needing("web", &["db"])])
}

#[tokio::test(start_paused = true)]
async fn a_dependency_is_ready_before_its_dependent_is_started() {
    let world = pair();
    world.looks.hide("db");
    let visitor = world.visitor("web");
    world.platform.is_asked("started db").await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(world.platform.asked("start web"), 0, "db is not ready");
    assert_eq!(world.snapshot("web").stage, Some(Stage::Needs([named("db")].into())));
    world.looks.show("db");
    visitor.await.expect("visitor").expect("admitted");
    assert_eq!(world.platform.log(), ["start db", "started db", "start web", "started web"]);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_until_started_is_not_waited_for_until_ready() {
    let web = WorkloadSpec { needs: vec![until("db", Until::Started)], ..spec("web") };
    let world = World::new(vec![spec("db"), web]);
    world.looks.hide("db");
    world.call("web").await;
    assert_eq!(world.platform.log(), ["start db", "started db", "start web", "started web"]);
    assert_eq!(world.phase_of("db"), Phase::Waking);
}

#[tokio::test(start_paused = true)]
async fn a_job_has_ended_well_before_the_dependent_is_started_and_runs_again_for_the_next_wake() {
    let web = WorkloadSpec { needs: vec![until("migrate", Until::Completed)], ..spec("web") };
    let world = World::new(vec![job("migrate"), web]);
    world.platform.with("migrate", |guest| guest.ends = Some((Duration::from_secs(3), 0)));
    let asked = Instant::now();
    world.call("web").await;
    assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(
        world.platform.log(),
        ["start migrate", "started migrate", "start web", "started web"]
    );
    assert_eq!(world.phase_of("migrate"), Phase::Asleep);
    world.phase("web", Phase::Asleep).await;
    world.call("web").await;
    assert_eq!(world.platform.asked("start migrate"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_fails_its_dependent_by_name() {
    let web = WorkloadSpec { needs: vec![until("migrate", Until::Completed)], ..spec("web") };
    let world = World::new(vec![job("migrate"), web]);
    world.platform.with("migrate", |guest| guest.ends = Some((Duration::from_secs(3), 4)));
    let (why, retry) = world.refused("web").await;
    assert!(why.contains("it needs migrate") && why.contains("exit status 4"), "{why}");
    assert_eq!(retry, Some(COOLDOWN));
    assert_eq!(world.platform.asked("start web"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_an_operator_ends_fails_its_dependent_at_once() {
    let web = WorkloadSpec { needs: vec![until("migrate", Until::Completed)], ..spec("web") };
    let world = World::new(vec![job("migrate"), web]);
    let visitor = world.visitor("web");
    world.platform.is_asked("started migrate").await;
    pass(Duration::from_secs(5)).await;
    let slept = Instant::now();
    world.engine.sleep("migrate", operator(), Force::AtOnce).expect("nothing holds a job");
    let refused = visitor.await.expect("visitor").expect_err("refused").to_string();
    assert!(refused.contains("it needs migrate"), "{refused}");
    assert!(slept.elapsed() < Duration::from_secs(1), "{:?}", slept.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_shared_database_sleeps_only_after_its_last_dependent() {
    let specs = vec![spec("db"), spec_needing("one", &["db"]), spec_needing("two", &["db"])];
    let world = World::new(specs);
    world.call("one").await;
    let two = world.visit("two").await.expect("admitted");
    world.phase("one", Phase::Asleep).await;
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("db"), Phase::Ready, "two needs it");
    drop(two);
    world.phase("two", Phase::Asleep).await;
    let released = Instant::now();
    assert_eq!(world.phase_of("db"), Phase::Ready);
    world.phase("db", Phase::Stopping).await;
    let quiet = released.elapsed();
    assert!(quiet >= IDLE && quiet < IDLE + Duration::from_secs(1), "{quiet:?}");
    assert_eq!(world.platform.asked("start db"), 1);
}

#[tokio::test(start_paused = true)]
async fn sleep_goes_in_the_reverse_order_of_the_starts() {
    let specs = vec![spec("db"), spec_needing("api", &["db"]), spec_needing("web", &["api"])];
    let world = World::new(specs);
    world.call("web").await;
    world.phase("db", Phase::Asleep).await;
    let order = ["start db", "start api", "start web", "stop web", "stop api", "stop db"];
    let asked = |entry: &String| entry.starts_with("start ") || entry.starts_with("stop ");
    let log: Vec<_> = world.platform.log().into_iter().filter(asked).collect();
    assert_eq!(log, order);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_on_another_provider_is_met() {
    let other = platform::Platform::new("other", false);
    let mut db = spec("db");
    db.provider = ProviderName::parse("other").expect("a name");
    let world = World::new(vec![db, spec_needing("web", &["db"])]);
    other.add("db");
    world.engine.add_provider(other.clone());
    world.call("web").await;
    assert_eq!(other.log(), ["start db", "started db"]);
    assert_eq!(world.platform.log(), ["start web", "started web"]);
}

#[tokio::test(start_paused = true)]
async fn a_needed_workload_that_dies_is_woken_again_without_a_visitor() {
    let world = pair();
    let visit = world.visit("web").await.expect("admitted");
    pass(Duration::from_secs(20)).await;
    world.platform.becomes("db", Status::Stopped);
    world.platform.report("db").await;
    world.phase("db", Phase::Ready).await;
    assert_eq!(world.snapshot("db").generation, Generation(2));
    assert_eq!(world.phase_of("web"), Phase::Ready, "its dependent goes on");
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn a_needed_workload_that_cannot_be_woken_is_retried_with_backoff() {
    let world = pair();
    let visit = world.visit("web").await.expect("admitted");
    pass(Duration::from_secs(20)).await;
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Unavailable));
    world.platform.becomes("db", Status::Stopped);
    world.platform.report("db").await;
    pass(Duration::from_secs(3600)).await;
    let tries = world.platform.asked("start db") - 1;
    assert!((10..=25).contains(&tries), "{tries} tries in an hour");
    world.platform.with("db", |guest| guest.start_fails = None);
    world.phase("db", Phase::Ready).await;
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn a_failed_dependency_fails_the_dependent_at_once_and_again_only_after_the_cool_down() {
    let world = pair();
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Denied));
    let (why, retry) = world.refused("web").await;
    assert_eq!(why, "it needs db, which could not be woken: the engine is down");
    assert_eq!(retry, Some(COOLDOWN));
    let asked = Instant::now();
    world.refused("web").await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(world.platform.log(), ["start db"]);
    world.platform.with("db", |guest| guest.start_fails = None);
    pass(COOLDOWN).await;
    world.call("web").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_dependent_holds_no_dependency_awake() {
    let specs = vec![spec("cache"), spec("db"), spec_needing("web", &["cache", "db"])];
    let world = World::new(specs);
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Denied));
    world.refused("web").await;
    world.phase("cache", Phase::Asleep).await;
    assert_eq!(world.workload("cache").status().held, 0);
    assert_eq!(world.workload("db").status().held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cycle_is_refused_with_its_path() {
    let specs = vec![
        spec("a"),
        spec_needing("b", &["a", "d"]),
        spec_needing("c", &["b"]),
        spec_needing("d", &["c"]),
    ];
    let world = World::unconnected(Vec::new(), specs);
    let failure = world.engine.connect().expect_err("a cycle");
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    assert!(failure.message.contains("b → d → c → b"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn a_need_that_does_not_exist_is_refused_by_name() {
    let world = World::unconnected(Vec::new(), vec![spec_needing("web", &["db"])]);
    let failure = world.engine.connect().expect_err("no db");
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.message.contains("db"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn an_operator_cannot_put_a_needed_workload_to_sleep_and_gets_its_dependents() {
    let specs = vec![
        spec("db"),
        spec_needing("one", &["db"]),
        spec_needing("three", &["db"]),
        spec_needing("two", &["db"]),
    ];
    let world = World::new(specs);
    let _one = world.visit("one").await.expect("admitted");
    let _two = world.visit("two").await.expect("admitted");
    // It has failed, and holds no dependency.
    world.platform.with("three", |guest| guest.start_fails = Some(ErrorCode::Denied));
    world.refused("three").await;
    let failure = world.engine.sleep("db", operator(), Force::AtOnce).expect_err("needed");
    assert_eq!(failure.code, ErrorCode::Conflict);
    assert_eq!(failure.message, "db is needed by one, two: put one, two to sleep first");
    assert_eq!(world.phase_of("db"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_a_wake_includes_that_of_its_dependencies() {
    let mut db = spec("db");
    db.wake.timeout = Duration::from_secs(600);
    let world = World::new(vec![db, spec_needing("web", &["db"])]);
    // Its status is queried before the first wake.
    world.engine.reconcile();
    moment().await;
    world.looks.hide("db");
    let visitor = world.visitor("web");
    pass(Duration::from_secs(500)).await;
    world.looks.show("db");
    visitor.await.expect("visitor").expect("admitted");
}

#[tokio::test(start_paused = true)]
async fn the_stages_of_a_wake_are_published_in_order() {
    let pools = vec![pool(2)];
    let specs = vec![pooled(spec("db")), pooled(spec_needing("web", &["db"])), pooled(spec("old"))];
    let world = World::with_pools(pools, specs);
    let old = world.visit("old").await.expect("admitted");
    world.looks.hide("db");
    world.looks.hide("web");
    let mut snapshots = world.workload("web").watch();
    let visitor = world.visitor("web");
    let mut stages = Vec::new();
    let mut old = Some(old);
    loop {
        snapshots.changed().await.expect("watching");
        let seen = snapshots.borrow_and_update().clone();
        let Some(stage) = seen.stage else { break };
        let word = match stage {
            Stage::Queued { position, length } => {
                drop(old.take());
                format!("queued {position}/{length}")
            }
            Stage::Needs(names) => {
                world.looks.show("db");
                format!("needs {names:?}")
            }
            Stage::Starting | Stage::Absent => "starting".to_owned(),
            Stage::Probing(None) => continue,
            Stage::Probing(Some(seen)) => {
                world.looks.show("web");
                format!("probing, {seen}")
            }
        };
        if stages.last() != Some(&word) {
            stages.push(word);
        }
    }
    visitor.await.expect("visitor").expect("admitted");
    let expected = ["queued 1/1", "needs [\"db\"]", "starting", "probing, 503"];
    assert_eq!(stages, expected);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_failed_often_is_retried_for_each_visitor_after_the_cool_down() {
    let world = pair();
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Denied));
    for _ in 0..8 {
        world.refused("web").await;
        pass(COOLDOWN).await;
    }
    assert_eq!(world.platform.asked("start db"), 8);
    world.platform.with("db", |guest| guest.start_fails = None);
    world.call("web").await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_s_sleep_does_not_reach_a_dependency_that_is_being_held() {
    let world = pair();
    world.call("web").await;
    world.workload("db").apply(Input::Sleep(Arc::new(operator()), Force::AtOnce));
    assert_eq!(world.phase_of("db"), Phase::Ready);
}
