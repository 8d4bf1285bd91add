//! Targets that are removed, recreated or restarted by hand.

use super::{
    histories::{idle, ready, starting},
    *,
};

fn removed() -> Happening {
    Happening::OperationEnds(Outcome::Error(ErrorCode::NotFound))
}

/// A wake whose start finds that the target, which existed, is gone.
fn waiting_for_target() -> World {
    let mut world = World::new();
    world.happen(Happening::Synced);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    world.happen(removed());
    assert_eq!(world.state.stage(), Some(Stage::Absent));
    world
}

#[test]
fn a_wake_waits_for_a_removed_target_and_starts_the_new_one_at_once() {
    let mut world = waiting_for_target();
    world.happen(Happening::Event(Status::Stopped, 2));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 2)));
    world.happen(Happening::ProbeEnds(true));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Ready, Generation(1)));
}

#[test]
fn a_waiting_wake_polls_for_the_new_target_where_no_event_reports_it() {
    let mut world = waiting_for_target();
    for _ in 0..3 {
        world.happen(Happening::LookTimerFires);
        assert_eq!(world.look.expect("a status query").1, Priority::Urgent);
        world.happen(Happening::LookEnds(Outcome::Seen(Status::Missing, 1)));
        assert_eq!(world.state.stage(), Some(Stage::Absent));
    }
    world.happen(Happening::LookTimerFires);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 2)));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
}

#[test]
fn a_target_that_stays_away_fails_the_wake_after_three_seconds() {
    let mut world = waiting_for_target();
    let (_, at) = world.timer.expect("a deadline");
    assert_eq!(at - world.now, Duration::from_secs(3));
    world.happen(Happening::TimerFires);
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
        world.happen(Happening::Event(Status::Stopped, 1));
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
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::Event(Status::Missing, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Missing, 1)));
    assert_eq!((world.state.stage(), world.probe), (Some(Stage::Absent), None));
}

#[test]
fn an_operator_ends_the_wait_for_a_removed_target() {
    let mut world = waiting_for_target();
    world.happen(Happening::OperatorSleep(Force::Drain));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Missing, 1)));
    assert_eq!(world.state.phase(), Phase::Missing);
}

/// A start has failed, and its target is known.
fn failed() -> World {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Conflict)));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world
}

#[test]
fn a_new_target_of_the_name_lifts_the_cool_down() {
    let mut world = failed();
    world.happen(Happening::Event(Status::Stopped, 2));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 2)));
    assert_eq!((world.state.phase(), world.state.cooldown_until()), (Phase::Asleep, None));
    world.happen(Happening::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn the_same_target_does_not_lift_the_cool_down() {
    let mut world = failed();
    world.happen(Happening::Event(Status::Stopped, 1));
    assert_eq!(world.look, None);
    world.happen(Happening::Visitor);
    assert_eq!(world.state.phase(), Phase::Failed);
}

#[test]
fn a_target_that_is_removed_after_its_start_failed_lifts_the_cool_down() {
    let mut world = failed();
    world.happen(Happening::Event(Status::Missing, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Missing, 1)));
    assert_eq!((world.state.phase(), world.state.failure()), (Phase::Missing, None));
    world.happen(Happening::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn an_identity_that_changes_with_every_start_does_not_turn_off_the_cool_down() {
    let mut world = failed();
    world.happen(Happening::Event(Status::Stopped, 2));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 2)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 0)));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.cooldown_until().is_some());
}

/// It is ready, is found stopped, and some time passes.
fn stopped_by_hand(passed: u64) -> World {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.now += Duration::from_secs(passed);
    world
}

fn started_by_hand(world: &mut World, id: u8) {
    world.happen(Happening::Event(Status::Running, id));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, id)));
}

#[test]
fn what_was_woken_here_stays_ours_through_a_restart_by_hand() {
    for adopt in [Adopt::Keep, Adopt::Sleep, Adopt::Ignore] {
        let mut world = stopped_by_hand(30);
        world.policy.adopt = adopt;
        started_by_hand(&mut world, 1);
        assert!(world.state.is_owned(), "{adopt:?}");
        world.happen(Happening::ProbeEnds(true));
        idle(&mut world);
        assert_eq!(world.state.phase(), Phase::Stopping, "{adopt:?}");
    }
}

#[test]
fn what_is_started_by_hand_much_later_or_is_another_one_is_not_ours() {
    for (passed, id) in [(61, 1), (1, 2)] {
        let mut world = stopped_by_hand(passed);
        world.policy.adopt = Adopt::Ignore;
        started_by_hand(&mut world, id);
        assert_eq!(world.state.phase(), Phase::Asleep);
    }
}

#[test]
fn what_was_put_to_sleep_here_and_is_started_by_hand_is_not_ours() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    started_by_hand(&mut world, 1);
    assert_eq!((world.state.phase(), world.state.is_owned()), (Phase::Waking, false));
}

#[test]
fn an_urgent_query_replaces_a_routine_one_that_waits_for_its_turn() {
    let mut world = ready();
    world.happen(Happening::Synced);
    let (routine, _) = world.look.expect("polled");
    world.happen(Happening::Suspicion);
    let (urgent, priority) = world.look.expect("suspected");
    assert!(urgent > routine && priority == Priority::Urgent);
    assert!(world.state.pending_query() >= Some(urgent));
    world.input(Input::StatusResult(routine, Ok(seen(Status::Stopped, 1))));
    assert_eq!(world.state.phase(), Phase::Ready, "the answer does not count any more");
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
}
