//! Dependencies that are discovered on the platform.

use super::*;
use crate::{need::Service, provider::Status, spec::Adopt};

/// The target is a service of the group `shop`, with the services that it needs.
fn service<const N: usize>(world: &World, name: &str, service: &str, needs: [(&str, Until); N]) {
    let needs = needs.map(|(service, until)| (service.to_owned(), until)).into();
    let service = Service { group: "shop".to_owned(), name: service.to_owned(), needs };
    world.platform.with(name, |guest| guest.service = Some(service));
}

fn in_group(world: &World, name: &str, group: &str) {
    world.platform.with(name, |guest| {
        guest.service.as_mut().expect("a service").group = group.to_owned();
    });
}

fn needs(world: &World, name: &str) -> Vec<(String, Until)> {
    let needs = world.workload(name).needs().into_iter();
    needs.map(|(other, until)| (other.name().to_string(), until)).collect()
}

async fn observed(world: &World) {
    world.engine.reconcile();
    moment().await;
}

#[tokio::test(start_paused = true)]
async fn discovered_dependencies_are_woken_first() {
    // The dependent is observed before its dependency.
    let world = World::new(vec![spec("a-web"), spec("b-db"), job("c-migrate")]);
    service(&world, "a-web", "web", [("db", Until::Healthy), ("migrate", Until::Completed)]);
    service(&world, "b-db", "db", []);
    service(&world, "c-migrate", "migrate", [("db", Until::Started)]);
    world.platform.with("c-migrate", |guest| guest.ends = Some((Duration::from_secs(1), 0)));
    observed(&world).await;
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
async fn the_order_of_observation_does_not_matter() {
    for (web, db) in [("a", "b"), ("b", "a")] {
        let world = World::new(vec![spec("a"), spec("b")]);
        service(&world, web, "web", [("db", Until::Healthy)]);
        service(&world, db, "db", []);
        observed(&world).await;
        assert_eq!(needs(&world, web), [(db.to_owned(), Until::Healthy)]);
        assert_eq!(needs(&world, db), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_discovered_need_that_would_close_a_cycle_is_ignored() {
    // By configuration db needs web; the platform reports the opposite.
    let world = World::new(vec![spec_needing("db", &["web"]), spec("web"), spec("x"), spec("y")]);
    service(&world, "db", "db", []);
    service(&world, "web", "web", [("db", Until::Healthy)]);
    service(&world, "x", "x", [("y", Until::Healthy)]);
    service(&world, "y", "y", [("x", Until::Healthy)]);
    observed(&world).await;
    assert_eq!(needs(&world, "web"), []);
    assert_eq!(needs(&world, "x"), [("y".to_owned(), Until::Healthy)]);
    assert_eq!(needs(&world, "y"), []);
    world.call("db").await;
    world.call("x").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_must_complete_and_is_no_job_does_not_delay_its_dependent() {
    let world = World::new(vec![spec("setup"), spec("web")]);
    service(&world, "setup", "setup", []);
    service(&world, "web", "web", [("setup", Until::Completed)]);
    observed(&world).await;
    assert_eq!(needs(&world, "web"), []);
    world.call("web").await;
}

#[tokio::test(start_paused = true)]
async fn services_of_other_groups_and_unknown_services_are_not_needed() {
    let world = World::new(vec![spec("db"), spec("web")]);
    service(&world, "db", "db", []);
    service(&world, "web", "web", [("db", Until::Healthy), ("cache", Until::Started)]);
    in_group(&world, "db", "other");
    observed(&world).await;
    assert_eq!(needs(&world, "web"), []);
}

#[tokio::test(start_paused = true)]
async fn an_instance_started_before_its_needs_were_discovered_keeps_them_awake() {
    let world = World::new(vec![spec("app"), WorkloadSpec { adopt: Adopt::Sleep, ..spec("db") }]);
    service(&world, "app", "app", [("db", Until::Healthy)]);
    service(&world, "db", "db", []);
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
async fn a_wake_that_waits_for_its_needs_waits_for_needs_discovered_meanwhile() {
    let world = World::new(vec![spec_needing("app", &["cache"]), spec("cache"), spec("db")]);
    service(&world, "app", "app", [("db", Until::Healthy)]);
    service(&world, "db", "db", []);
    world.looks.hide("cache");
    world.looks.hide("db");
    let visitor = world.visitor("app");
    pass(Duration::from_secs(1)).await;
    observed(&world).await;
    world.looks.show("cache");
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.platform.asked("start app"), 0, "db is not ready");
    world.looks.show("db");
    visitor.await.expect("visitor").expect("admitted");
}

#[tokio::test(start_paused = true)]
async fn a_need_that_is_no_longer_reported_is_released() {
    let world = World::new(vec![spec("app"), spec("db")]);
    service(&world, "app", "app", [("db", Until::Healthy)]);
    service(&world, "db", "db", []);
    observed(&world).await;
    let _visit = world.visit("app").await.expect("admitted");
    assert_eq!(world.workload("db").status().held, 1);
    world.platform.with("app", |guest| guest.service = None);
    observed(&world).await;
    assert_eq!(needs(&world, "app"), []);
    assert_eq!(world.workload("db").status().held, 0);
    world.phase("db", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn every_workload_of_a_needed_service_is_needed() {
    let world = World::new(vec![spec("app"), spec("db-1"), spec("db-2")]);
    service(&world, "app", "app", [("db", Until::Healthy)]);
    service(&world, "db-1", "db", []);
    service(&world, "db-2", "db", []);
    observed(&world).await;
    let expected = ["db-1", "db-2"].map(|name| (name.to_owned(), Until::Healthy));
    assert_eq!(needs(&world, "app"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_need_that_is_reversed_causes_no_deadlock() {
    let world = World::new(vec![spec("x"), spec("y")]);
    service(&world, "x", "x", [("y", Until::Healthy)]);
    service(&world, "y", "y", []);
    observed(&world).await;
    let visit = world.visit("x").await.expect("admitted");
    service(&world, "y", "y", [("x", Until::Healthy)]);
    service(&world, "x", "x", []);
    observed(&world).await;
    assert_eq!(needs(&world, "y"), [("x".to_owned(), Until::Healthy)]);
    assert_eq!(world.workload("y").status().held, 0);
    world.call("y").await;
    assert_eq!(world.workload("x").status().held, 1);
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn groups_that_change_for_ever_take_no_memory() {
    let world = World::new(vec![spec("app")]);
    for round in 0..1000 {
        service(&world, "app", "app", []);
        in_group(&world, "app", &format!("group-{round}"));
        observed(&world).await;
    }
    assert_eq!(lock(&world.engine.shared.groups).len(), 1);
    world.platform.with("app", |guest| guest.service = None);
    observed(&world).await;
    assert_eq!(lock(&world.engine.shared.groups).len(), 0);
}
