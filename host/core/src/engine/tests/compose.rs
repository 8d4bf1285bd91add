//! Needs that are read from the labels of compose.

use super::*;
use crate::{provider::Status, spec::Adopt};

fn label(world: &World, name: &str, service: &str, depends_on: &str) {
    world.platform.with(name, |guest| {
        guest.labels = BTreeMap::from([
            ("com.docker.compose.project".to_owned(), "shop".to_owned()),
            ("com.docker.compose.service".to_owned(), service.to_owned()),
            ("com.docker.compose.depends_on".to_owned(), depends_on.to_owned()),
        ]);
    });
}

fn needs(world: &World, name: &str) -> Vec<(String, Until)> {
    let needs = world.workload(name).needs().into_iter();
    needs.map(|(other, until)| (other.name().to_string(), until)).collect()
}

async fn looked_at(world: &World) {
    world.engine.reconcile();
    moment().await;
}

#[tokio::test(start_paused = true)]
async fn what_compose_says_is_needed_is_woken_first() {
    // The dependent is looked at before the one that it needs.
    let world = World::new(vec![spec("a-web"), spec("b-db"), job("c-migrate")]);
    let needs_of_web = "db:service_healthy:false,migrate:service_completed_successfully:false";
    label(&world, "a-web", "web", needs_of_web);
    label(&world, "b-db", "db", "");
    label(&world, "c-migrate", "migrate", "db:service_started:true");
    world.platform.with("c-migrate", |guest| guest.ends = Some((Duration::from_secs(1), 0)));
    looked_at(&world).await;
    world.call("a-web").await;
    let log = world.platform.log();
    let at = |what: &str| log.iter().position(|entry| entry == what).expect("it happened");
    assert!(at("started b-db") < at("start c-migrate"), "{log:?}");
    assert!(at("started c-migrate") < at("start a-web"), "{log:?}");
    let expected =
        [("b-db".to_owned(), Until::Healthy), ("c-migrate".to_owned(), Until::Completed)];
    assert_eq!(needs(&world, "a-web"), expected);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_matter_who_is_looked_at_first() {
    for (web, db) in [("a", "b"), ("b", "a")] {
        let world = World::new(vec![spec("a"), spec("b")]);
        label(&world, web, "web", "db:service_healthy:false");
        label(&world, db, "db", "");
        looked_at(&world).await;
        assert_eq!(needs(&world, web), [(db.to_owned(), Until::Healthy)]);
        assert_eq!(needs(&world, db), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_need_of_compose_that_would_close_a_circle_is_left_out() {
    // By configuration db needs web; compose says the opposite.
    let world = World::new(vec![spec_needing("db", &["web"]), spec("web"), spec("x"), spec("y")]);
    label(&world, "db", "db", "");
    label(&world, "web", "web", "db:service_healthy:false");
    label(&world, "x", "x", "y:service_healthy:false");
    label(&world, "y", "y", "x:service_healthy:false");
    looked_at(&world).await;
    assert_eq!(needs(&world, "web"), []);
    assert_eq!(needs(&world, "x"), [("y".to_owned(), Until::Healthy)]);
    assert_eq!(needs(&world, "y"), []);
    world.call("db").await;
    world.call("x").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_must_have_completed_and_is_no_job_does_not_hold_up_its_dependent() {
    let world = World::new(vec![spec("setup"), spec("web")]);
    label(&world, "setup", "setup", "");
    label(&world, "web", "web", "setup:service_completed_successfully:false");
    looked_at(&world).await;
    assert_eq!(needs(&world, "web"), []);
    world.call("web").await;
}

#[tokio::test(start_paused = true)]
async fn services_of_other_projects_and_unknown_ones_are_nobody_s_need() {
    let world = World::new(vec![spec("db"), spec("web")]);
    label(&world, "db", "db", "");
    label(&world, "web", "web", "db:service_healthy:false,cache:service_started:false");
    world.platform.with("db", |guest| {
        guest.labels.insert("com.docker.compose.project".to_owned(), "other".to_owned());
    });
    looked_at(&world).await;
    assert_eq!(needs(&world, "web"), []);
}

#[tokio::test(start_paused = true)]
async fn a_life_that_began_before_its_needs_were_known_keeps_them_awake() {
    let world = World::new(vec![spec("app"), WorkloadSpec { adopt: Adopt::Sleep, ..spec("db") }]);
    label(&world, "app", "app", "db:service_healthy:false");
    label(&world, "db", "db", "");
    for name in ["app", "db"] {
        world.platform.becomes(name, Status::Running);
    }
    world.platform.with("db", |guest| guest.status_takes = Duration::from_secs(1));
    world.engine.reconcile();
    pass(Duration::from_secs(2)).await;
    let visit = world.visit("app").await.expect("admitted");
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("db"), Phase::Ready, "app needs it");
    assert_eq!(world.workload("db").status().held, 1);
    drop(visit);
    world.phase("app", Phase::Asleep).await;
    world.phase("db", Phase::Asleep).await;
    assert_eq!(world.workload("db").status().held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_waits_for_its_needs_waits_for_those_that_become_known_meanwhile() {
    let world = World::new(vec![spec_needing("app", &["cache"]), spec("cache"), spec("db")]);
    label(&world, "app", "app", "db:service_healthy:false");
    label(&world, "db", "db", "");
    world.looks.hide("cache");
    world.looks.hide("db");
    let visitor = world.visitor("app");
    pass(Duration::from_secs(1)).await;
    looked_at(&world).await;
    world.looks.show("cache");
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.platform.asked("start app"), 0, "db is not ready");
    world.looks.show("db");
    visitor.await.expect("visitor").expect("admitted");
}

#[tokio::test(start_paused = true)]
async fn what_compose_does_not_say_any_more_is_needed_no_more() {
    let world = World::new(vec![spec("app"), spec("db")]);
    label(&world, "app", "app", "db:service_healthy:false");
    label(&world, "db", "db", "");
    looked_at(&world).await;
    let _visit = world.visit("app").await.expect("admitted");
    assert_eq!(world.workload("db").status().held, 1);
    world.platform.with("app", |guest| guest.labels.clear());
    looked_at(&world).await;
    assert_eq!(needs(&world, "app"), []);
    assert_eq!(world.workload("db").status().held, 0);
    world.phase("db", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn every_workload_of_a_service_is_needed() {
    let world = World::new(vec![spec("app"), spec("db-1"), spec("db-2")]);
    label(&world, "app", "app", "db:service_healthy:false");
    label(&world, "db-1", "db", "");
    label(&world, "db-2", "db", "");
    looked_at(&world).await;
    let expected = ["db-1", "db-2"].map(|name| (name.to_owned(), Until::Healthy));
    assert_eq!(needs(&world, "app"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_need_that_turns_round_locks_nobody() {
    let world = World::new(vec![spec("x"), spec("y")]);
    label(&world, "x", "x", "y:service_healthy:false");
    label(&world, "y", "y", "");
    looked_at(&world).await;
    let visit = world.visit("x").await.expect("admitted");
    label(&world, "y", "y", "x:service_healthy:false");
    label(&world, "x", "x", "");
    looked_at(&world).await;
    assert_eq!(needs(&world, "y"), [("x".to_owned(), Until::Healthy)]);
    assert_eq!(world.workload("y").status().held, 0);
    world.call("y").await;
    assert_eq!(world.workload("x").status().held, 1);
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn labels_that_change_for_ever_take_no_memory() {
    let world = World::new(vec![spec("app")]);
    for round in 0..1000 {
        label(&world, "app", "app", "");
        world.platform.with("app", |guest| {
            let project = "com.docker.compose.project".to_owned();
            guest.labels.insert(project, format!("project-{round}"));
        });
        looked_at(&world).await;
    }
    assert_eq!(lock(&world.engine.shared.projects).len(), 1);
    world.platform.with("app", |guest| {
        guest.labels.insert("com.docker.compose.project".to_owned(), "x".repeat(1000));
    });
    looked_at(&world).await;
    assert_eq!(lock(&world.engine.shared.projects).len(), 0);
}
