//! Restarts and recreations by an operator.

use super::{
    histories::{idle, ready, starting},
    *,
};

const RECREATE: Renewal = Renewal::Recreate { refresh: false };

fn renew(world: &mut World, renewal: Renewal) {
    world.happen(Event::OperatorRenew(Force::Drain, renewal));
}

fn operation(world: &World) -> Option<Operation> {
    world.operation.map(|(_, operation)| operation)
}

/// The operation ends with this status.
fn ends(world: &mut World, status: Status) {
    world.happen(Event::OperationEnds(Outcome::Status(status, 1)));
}

/// The next generation gets its slot and needs, and is started.
fn next_generation(world: &mut World) {
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    assert_eq!(operation(world), Some(Operation::Start));
}

#[test]
fn a_restart_drains_visits_and_wakes_the_workload_without_a_visitor() {
    let mut world = ready();
    world.happen(Event::Visitor);
    renew(&mut world, Renewal::Restart);
    assert_eq!((world.state.phase(), operation(&world)), (Phase::Draining, None));
    world.happen(Event::VisitorLeaves);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_generation(&mut world);
}

#[test]
fn recreation_keeps_an_awake_workload_awake_and_a_sleeping_one_asleep() {
    let mut world = ready();
    renew(&mut world, RECREATE);
    assert_eq!(operation(&world), Some(Operation::Renew(RECREATE)));
    ends(&mut world, Status::Running);
    next_generation(&mut world);

    let mut world = World::new();
    renew(&mut world, RECREATE);
    assert_eq!(
        (world.state.phase(), operation(&world)),
        (Phase::Stopping, Some(Operation::Renew(RECREATE)))
    );
    ends(&mut world, Status::Stopped);
    assert_eq!((world.state.phase(), operation(&world)), (Phase::Asleep, None));
    assert!(world.starts.is_empty());
}

#[test]
fn a_visitor_during_recreation_is_served_after_it() {
    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(Event::Visitor);
    ends(&mut world, Status::Stopped);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_sleeping_workload_that_runs_after_recreation_is_adopted() {
    let mut world = World::new();
    renew(&mut world, RECREATE);
    ends(&mut world, Status::Running);
    assert!(world.query.is_some());
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_failed_recreation_is_not_repeated_and_not_shown_to_visitors() {
    let refused = || Event::OperationEnds(Outcome::Error(ErrorCode::Denied));
    let mut world = ready();
    renew(&mut world, RECREATE);
    world.happen(refused());
    next_generation(&mut world);

    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(refused());
    assert_eq!((world.state.phase(), world.state.failure()), (Phase::Asleep, None));
    assert!(world.query.is_some(), "the recreation may be half done");
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!((operation(&world), world.timer), (None, None), "an order is not repeated");
}

#[test]
fn a_missing_target_fails_a_recreation_and_passes_the_stop_of_a_restart() {
    let not_found = || Event::OperationEnds(Outcome::Error(ErrorCode::NotFound));
    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(not_found());
    assert_eq!(world.recorded, Some(Err(ErrorCode::NotFound)));

    let mut world = ready();
    renew(&mut world, Renewal::Restart);
    world.happen(not_found());
    assert_eq!(world.recorded, Some(Ok(())));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_restart_cancels_the_start_in_flight() {
    let mut world = starting();
    renew(&mut world, Renewal::Restart);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_generation(&mut world);
}

#[test]
fn a_restart_from_the_light_sleep_stops_the_target() {
    let mut world = ready();
    idle(&mut world);
    ends(&mut world, Status::Paused);
    assert!(world.state.sleeps_lightly());
    renew(&mut world, Renewal::Restart);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_generation(&mut world);
}

#[test]
fn no_renewal_begins_during_a_sleep_and_a_sleep_replaces_a_renewal_that_drains() {
    let mut world = ready();
    idle(&mut world);
    assert!(!world.state.may_be_renewed() && !world.state.is_renewed());

    let mut world = ready();
    world.happen(Event::Visitor);
    renew(&mut world, Renewal::Restart);
    assert!(!world.state.may_be_renewed() && world.state.is_renewed());
    world.happen(Event::OperatorSleep(Force::AtOnce));
    assert_eq!(operation(&world), Some(Operation::Sleep));
    ends(&mut world, Status::Stopped);
    assert_eq!(world.state.phase(), Phase::Asleep);
}
