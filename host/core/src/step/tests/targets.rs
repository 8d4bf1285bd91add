//! Targets that are removed, recreated, or restarted from outside.

use super::{
    histories::{idle, ready, starting},
    *,
};

fn removed() -> Event {
    Event::OperationEnds(Outcome::Error(ErrorCode::NotFound))
}

/// A wake whose start finds that the target was removed.
fn waiting_for_target() -> World {
    let mut world = World::new();
    world.happen(Event::RoutineQuery);
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    world.happen(removed());
    assert_eq!(world.state.stage(), Some(Stage::Absent));
    world
}

#[test]
fn a_wake_waits_for_a_removed_target_and_starts_the_new_one_at_once() {
    let mut world = waiting_for_target();
    world.happen(Event::Reported(Status::Stopped, 2));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 2)));
    world.happen(Event::ProbeEnds(true));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Ready, Generation(1)));
}

#[test]
fn a_waiting_wake_polls_for_the_new_target_where_no_event_reports_it() {
    let mut world = waiting_for_target();
    for _ in 0..3 {
        world.happen(Event::QueryTimerFires);
        assert_eq!(world.query.expect("a status query").1, Priority::Urgent);
        world.happen(Event::QueryEnds(Outcome::Status(Status::Missing, 1)));
        assert_eq!(world.state.stage(), Some(Stage::Absent));
    }
    world.happen(Event::QueryTimerFires);
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 2)));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
}

#[test]
fn a_target_that_stays_missing_fails_the_wake_after_three_seconds() {
    let mut world = waiting_for_target();
    let (_, at) = world.timer.expect("a deadline");
    assert_eq!(at - world.now, Duration::from_secs(3));
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Missing);
    let failure = world.state.failure().expect("a cause");
    assert_eq!((&failure.code, failure.reason), (&ErrorCode::NotFound, Some(Reason::Removed)));
    assert!(world.operation.is_none(), "there is nothing to stop");
}

#[test]
fn late_events_of_a_removed_target_do_not_extend_the_wait() {
    let mut world = waiting_for_target();
    for _ in 0..2 {
        world.now += Duration::from_secs(1);
        world.happen(Event::Reported(Status::Stopped, 1));
        world.happen(removed());
    }
    let (_, at) = world.timer.expect("a deadline");
    assert_eq!(at - world.now, Duration::from_secs(1));
}

#[test]
fn a_target_that_never_existed_is_not_waited_for() {
    let mut world = starting();
    world.happen(removed());
    assert_eq!(world.state.phase(), Phase::Missing);
}

#[test]
fn a_target_removed_while_it_is_probed_is_waited_for() {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::Reported(Status::Missing, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Missing, 1)));
    assert_eq!((world.state.stage(), world.probe), (Some(Stage::Absent), None));
}

#[test]
fn an_operator_ends_the_wait_for_a_removed_target() {
    let mut world = waiting_for_target();
    world.happen(Event::OperatorSleep(Force::Drain));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Missing, 1)));
    assert_eq!(world.state.phase(), Phase::Missing);
}

/// A failed start of a known target.
fn failed() -> World {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Conflict)));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world
}

#[test]
fn a_new_target_of_the_name_lifts_the_cool_down() {
    let mut world = failed();
    world.happen(Event::Reported(Status::Stopped, 2));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 2)));
    assert_eq!((world.state.phase(), world.state.cooldown_until()), (Phase::Asleep, None));
    world.happen(Event::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn the_same_target_does_not_lift_the_cool_down() {
    let mut world = failed();
    world.happen(Event::Reported(Status::Stopped, 1));
    assert_eq!(world.query, None);
    world.happen(Event::Visitor);
    assert_eq!(world.state.phase(), Phase::Failed);
}

#[test]
fn a_target_that_is_removed_after_its_start_failed_lifts_the_cool_down() {
    let mut world = failed();
    world.happen(Event::Reported(Status::Missing, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Missing, 1)));
    assert_eq!((world.state.phase(), world.state.failure()), (Phase::Missing, None));
    world.happen(Event::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn an_identity_that_changes_with_every_start_does_not_turn_off_the_cool_down() {
    let mut world = failed();
    world.happen(Event::Reported(Status::Stopped, 2));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 2)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 0)));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.cooldown_until().is_some());
}

/// A ready instance is found stopped, and this many seconds pass.
fn stopped_outside(passed: u64) -> World {
    let mut world = ready();
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.now += Duration::from_secs(passed);
    world
}

fn started_outside(world: &mut World, id: u8) {
    world.happen(Event::Reported(Status::Running, id));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, id)));
}

#[test]
fn an_owned_instance_stays_owned_through_a_restart_from_outside() {
    for adopt in [Adopt::Keep, Adopt::Sleep, Adopt::Ignore] {
        let mut world = stopped_outside(30);
        world.policy.adopt = adopt;
        started_outside(&mut world, 1);
        assert!(world.state.is_owned(), "{adopt:?}");
        world.happen(Event::ProbeEnds(true));
        idle(&mut world);
        assert_eq!(world.state.phase(), Phase::Stopping, "{adopt:?}");
    }
}

#[test]
fn a_target_restarted_later_or_replaced_is_not_owned() {
    for (passed, id) in [(61, 1), (1, 2)] {
        let mut world = stopped_outside(passed);
        world.policy.adopt = Adopt::Ignore;
        started_outside(&mut world, id);
        assert_eq!(world.state.phase(), Phase::Asleep);
    }
}

#[test]
fn a_target_started_from_outside_after_a_sleep_is_not_owned() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    started_outside(&mut world, 1);
    assert_eq!((world.state.phase(), world.state.is_owned()), (Phase::Waking, false));
}

#[test]
fn an_urgent_query_replaces_a_routine_one_that_waits_for_its_turn() {
    let mut world = ready();
    world.happen(Event::RoutineQuery);
    let (routine, _) = world.query.expect("polled");
    world.happen(Event::Suspicion);
    let (urgent, priority) = world.query.expect("suspected");
    assert!(urgent > routine && priority == Priority::Urgent);
    assert!(world.state.pending_query() >= Some(urgent));
    world.input(Input::StatusResult(routine, Ok(observation(Status::Stopped, 1))));
    assert_eq!(world.state.phase(), Phase::Ready, "the result does not count any more");
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
}
