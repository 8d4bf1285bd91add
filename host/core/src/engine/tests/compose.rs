//! Needs that are read from the labels of compose.

use super::*;

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
