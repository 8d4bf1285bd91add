//! Calls that visitors wait for go before routine calls.

use super::*;
use crate::provider::Status;

const QUERY: Duration = Duration::from_secs(2);

/// Many workloads on a slow platform, all queried at once.
async fn busy() -> World {
    let names = (0..200).map(|number| format!("w{number}"));
    let world = World::new(names.clone().map(|name| spec(&name)).collect());
    world.call("w199").await;
    for name in names {
        world.platform.with(&name, |guest| guest.status_takes = QUERY);
    }
    world.platform.sync().await;
    world
}

#[tokio::test(start_paused = true)]
async fn routine_queries_are_few_at_a_time() {
    let world = busy().await;
    pass(QUERY * 60).await;
    assert_eq!(world.platform.most_queries(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_is_served_before_routine_queries() {
    let world = busy().await;
    let came = Instant::now();
    world.call("w150").await;
    assert!(came.elapsed() < Duration::from_secs(1), "{:?}", came.elapsed());
    // The routine query of `w199` still waits for a permit when a visitor cannot connect to it.
    let workload = world.workload("w199");
    let instance = workload.enter().expect("the gate is open").instance().clone();
    world.platform.becomes("w199", Status::Stopped);
    assert_eq!(workload.confirm(&instance).await, Confirmation::Closed);
    assert!(came.elapsed() < QUERY + Duration::from_secs(1), "{:?}", came.elapsed());
    assert_eq!(world.phase_of("w199"), Phase::Asleep);
}
