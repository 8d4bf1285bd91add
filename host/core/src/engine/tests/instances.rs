//! The end of connections to an instance, and confirmations before a request is sent to an address.

use super::*;
use crate::{provider::Status, step::Priority};

const ADDRESS: &str = "10.0.0.2";

/// Two workloads of one platform; `one` is ready.
async fn neighbours() -> (World, Visit) {
    let never = |name| WorkloadSpec { idle: None, ..spec(name) };
    let world = World::new(vec![never("one"), never("two")]);
    reached_at(&world, "one", &[ADDRESS]);
    reached_at(&world, "two", &[ADDRESS]);
    let visit = world.visit("one").await.expect("admitted");
    assert!(visit.may_dial());
    (world, visit)
}

fn reached_at(world: &World, name: &str, hosts: &[&str]) {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    world.platform.with(name, |guest| guest.hosts = Some(hosts));
}

fn asked(world: &World, name: &str) -> usize {
    world.platform.with(name, |guest| guest.asked)
}

/// Returns whether the future resolves at once.
async fn at_once(future: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::from_millis(5), future).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_dial_and_its_streams_end_with_the_instance() {
    for status in [Status::Stopped, Status::Failed, Status::Missing] {
        let world = World::new(vec![spec("blog")]);
        let visit = world.visit("blog").await.expect("admitted");
        assert!(!at_once(visit.instance().closed()).await);
        let instance = visit.instance().clone();
        let dial = tokio::spawn(async move {
            instance.closed().await;
            instance.ended().await;
        });
        moment().await;
        world.platform.becomes("blog", status.clone());
        world.platform.report("blog").await;
        assert!(at_once(async { dial.await.expect("no panic") }).await, "{status:?}");
        assert!(!visit.may_dial() && visit.instance().has_ended());
        assert!(at_once(visit.instance().ended()).await, "resolves at once after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_ends_with_its_address_though_it_runs() {
    let (world, visit) = neighbours().await;
    reached_at(&world, "one", &[]);
    world.platform.report("one").await;
    assert!(visit.instance().has_ended());
    reached_at(&world, "one", &["10.0.0.9"]);
    world.platform.report("one").await;
    let next = world.visit("one").await.expect("admitted");
    assert_eq!(next.upstream(80), Some(("10.0.0.9", 80)));
    assert!(next.may_dial() && !visit.may_dial());
}

#[tokio::test(start_paused = true)]
async fn an_additional_address_ends_no_stream() {
    let (world, visit) = neighbours().await;
    reached_at(&world, "one", &["10.1.0.1", ADDRESS]);
    world.platform.report("one").await;
    let next = world.visit("one").await.expect("admitted");
    assert_eq!(next.upstream(80), Some(("10.1.0.1", 80)));
    assert_eq!(next.generation(), visit.generation().next());
    assert!(!visit.instance().is_open() && !visit.instance().has_ended());
    // Its address is observed to be gone, although no visit uses it any more.
    reached_at(&world, "one", &["10.1.0.1"]);
    world.platform.report("one").await;
    assert!(visit.instance().has_ended());
    assert!(!next.instance().has_ended(), "its own address is still there");
}

#[tokio::test(start_paused = true)]
async fn another_incarnation_ends_the_one_before() {
    let (world, visit) = neighbours().await;
    world.platform.with("one", |guest| guest.id += 1);
    world.platform.report("one").await;
    assert!(visit.instance().has_ended());
    assert!(world.visit("one").await.expect("admitted").may_dial());
}

#[tokio::test(start_paused = true)]
async fn a_draining_instance_is_open_and_a_stopping_one_is_closed_until_it_ends() {
    let world = World::new(vec![spec("blog")]);
    let visit = world.visit("blog").await.expect("admitted");
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    assert_eq!(world.phase_of("blog"), Phase::Draining);
    assert!(visit.instance().is_open());
    world.phase("blog", Phase::Stopping).await;
    assert!(!visit.instance().is_open() && !visit.instance().has_ended());
    world.phase("blog", Phase::Asleep).await;
    assert!(visit.instance().has_ended());
}

#[tokio::test(start_paused = true)]
async fn an_instance_paused_on_its_platform_keeps_its_streams_and_gets_no_request() {
    let (world, visit) = neighbours().await;
    world.platform.becomes("one", Status::Paused);
    world.platform.report("one").await;
    assert!(!visit.may_dial() && !visit.instance().has_ended());
    let next = world.visit("one").await.expect("resumed");
    assert!(next.may_dial());
}

#[tokio::test(start_paused = true)]
async fn no_request_is_sent_to_an_address_of_another_workload() {
    let (world, visit) = neighbours().await;
    // It has ended without an event.
    world.platform.becomes("one", Status::Stopped);
    world.platform.with("one", |guest| guest.status_takes = Duration::from_millis(50));
    world.call("two").await;
    assert_eq!(world.phase_of("one"), Phase::Ready, "its provider has not answered yet");
    assert!(!visit.may_dial());
    assert_eq!(world.workload("one").confirm(visit.instance()).await, Confirmation::Closed);
    assert!(visit.instance().has_ended());
    assert_eq!(world.engine.shared.addresses.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_about_another_holder_requires_a_confirmation() {
    let (world, visit) = neighbours().await;
    world.platform.becomes("one", Status::Stopped);
    world.platform.becomes("two", Status::Running);
    world.platform.with("one", |guest| guest.status_takes = Duration::from_millis(50));
    world.platform.with("two", |guest| guest.status_takes = Duration::from_secs(10));
    world.platform.report("two").await;
    assert!(!visit.may_dial());
    world.phase("one", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn workloads_that_share_an_address_are_queried_once_and_served() {
    let (world, visit) = neighbours().await;
    let before = asked(&world, "one");
    let other = world.visit("two").await.expect("admitted");
    moment().await;
    assert!(visit.may_dial() && other.may_dial());
    assert_eq!(asked(&world, "one"), before + 1);
    for name in ["one", "two", "one", "two"] {
        world.platform.report(name).await;
        world.workload(name).apply(Input::QueryStatus(Priority::Urgent));
        moment().await;
    }
    assert_eq!(asked(&world, "one"), before + 3, "two of them were asked for here");
    assert!(visit.may_dial() && other.may_dial());
}

#[tokio::test(start_paused = true)]
async fn an_address_is_not_confirmed_by_an_answer_to_an_earlier_question() {
    let (world, visit) = neighbours().await;
    world.platform.with("one", |guest| guest.status_takes = Duration::from_secs(1));
    world.workload("one").apply(Input::QueryStatus(Priority::Urgent));
    moment().await;
    world.platform.becomes("one", Status::Stopped);
    world.platform.becomes("two", Status::Running);
    world.platform.report("two").await;
    // The first answer reports it as running, which was true when it was observed.
    pass(Duration::from_millis(1100)).await;
    assert_eq!(world.phase_of("one"), Phase::Ready);
    assert!(!visit.may_dial());
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("one"), Phase::Asleep);
}

#[tokio::test(start_paused = true)]
async fn an_address_stays_unconfirmed_while_the_provider_does_not_answer() {
    let (world, visit) = neighbours().await;
    world.platform.with("one", |guest| guest.status_fails = 2);
    world.call("two").await;
    moment().await;
    assert!(!visit.may_dial());
    world.platform.with("one", |guest| guest.status_takes = Duration::from_secs(20));
    let workload = world.workload("one");
    assert_eq!(workload.confirm(visit.instance()).await, Confirmation::Unanswered);
    pass(Duration::from_secs(60)).await;
    assert!(visit.may_dial(), "it was asked until it could be");
}

#[tokio::test(start_paused = true)]
async fn concurrent_confirmations_lead_to_one_query() {
    let (world, visit) = neighbours().await;
    world.platform.with("one", |guest| guest.status_takes = Duration::from_millis(100));
    let before = asked(&world, "one");
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (workload, instance) = (world.workload("one"), visit.instance().clone());
        askers.spawn(async move { workload.confirm(&instance).await });
    }
    while let Some(answer) = askers.join_next().await {
        assert_eq!(answer.expect("no panic"), Confirmation::Confirmed);
    }
    assert!(asked(&world, "one") - before <= 2, "{} times", asked(&world, "one") - before);
}

#[tokio::test(start_paused = true)]
async fn loopback_without_a_port_belongs_to_no_workload() {
    let world = World::new(vec![spec("one"), spec("two")]);
    for name in ["one", "two"] {
        reached_at(&world, name, &["127.0.0.1"]);
        world.call(name).await;
    }
    assert_eq!(world.engine.shared.addresses.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_sleeping_workloads_are_forgotten() {
    let world = World::new(vec![spec("one"), spec("two")]);
    for name in ["one", "two"] {
        world.call(name).await;
    }
    assert_eq!(world.engine.shared.addresses.len(), 2);
    for name in ["one", "two"] {
        world.phase(name, Phase::Asleep).await;
    }
    assert_eq!(world.engine.shared.addresses.len(), 0);
}
