//! Histories of single behaviours.

use super::*;

/// A wake whose start is in flight.
pub(super) fn starting() -> World {
    let mut world = World::new();
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
    world
}

/// A ready workload without visits.
pub(super) fn ready() -> World {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::ProbeEnds(true));
    assert_eq!(world.state.phase(), Phase::Ready);
    world
}

/// The idle time ends, and nothing vetoes the sleep.
pub(super) fn idle(world: &mut World) {
    world.happen(Event::TimerFires);
    world.happen(Event::SleepCheckEnds(true));
}

#[test]
fn many_visitors_cause_one_start() {
    let mut world = starting();
    for _ in 0..10_000 {
        world.happen(Event::Visitor);
    }
    assert_eq!(world.starts.values().sum::<u32>(), 1);
}

#[test]
fn a_visitor_during_stopping_is_served_by_the_next_wake() {
    let mut world = ready();
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Event::Visitor);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_late_stop_event_does_not_end_the_current_instance() {
    let mut world = ready();
    world.happen(Event::Reported(Status::Stopped, 1));
    assert_eq!(world.state.phase(), Phase::Ready, "an event is only a hint");
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Ready, Generation(1)));
}

#[test]
fn the_result_of_a_query_sent_before_an_operation_is_ignored() {
    let mut world = World::new();
    world.happen(Event::RoutineQuery);
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::ProbeEnds(true));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Ready);
}

#[test]
fn a_query_during_an_operation_is_deferred_until_its_result() {
    let mut world = starting();
    world.happen(Event::RoutineQuery);
    assert_eq!(world.query, None, "its result could be older than the start");
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    assert!(world.query.is_some());
}

#[test]
fn an_instance_that_exits_while_ready_is_woken_by_the_next_visitor() {
    let mut world = ready();
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Event::Visitor);
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_failed_start_is_not_retried_during_the_cool_down() {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world.happen(Event::Visitor);
    assert_eq!(world.starts.values().sum::<u32>(), 1, "no attempt during the cool-down");
    world.happen(Event::TimePasses(6));
    world.happen(Event::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_wake_that_times_out_fails_with_the_last_probe_and_stops_the_target() {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::ProbeEnds(false));
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    let failure = world.state.failure().expect("a cause").message.clone();
    assert!(failure.contains("refused"), "{failure}");
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn a_failed_stop_is_retried_and_reported() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.failure().expect("reported").message.contains("retried in 1s"));
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert!(world.state.failure().expect("reported").message.contains("retried in 2s"));
    world.happen(Event::TimerFires);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    assert_eq!(world.state.failure(), None);
}

#[test]
fn a_target_found_running_is_adopted_and_not_stopped_when_it_does_not_get_ready() {
    let mut world = World::new();
    world.happen(Event::RoutineQuery);
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    assert_eq!(world.operation, None);
}

#[test]
fn an_operators_sleep_waits_for_visits_up_to_the_drain_timeout() {
    let mut world = ready();
    world.happen(Event::Visitor);
    world.happen(Event::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Draining);
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_container_recreated_under_its_name_has_to_pass_the_readiness_probe() {
    let mut world = ready();
    world.happen(Event::Reported(Status::Running, 2));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 2)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
    assert!(world.operation.is_none(), "it runs already");
}

#[test]
fn a_needed_workload_does_not_sleep_before_its_release() {
    let mut world = ready();
    world.happen(Event::Hold);
    world.happen(Event::TimePasses(60));
    world.happen(Event::SleepCheckEnds(true));
    world.happen(Event::Evict);
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Event::Release);
    assert_eq!(world.last_left, world.now, "its idle time begins when it is released");
    world.happen(Event::TimePasses(20));
    world.happen(Event::SleepCheckEnds(true));
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_needed_workload_that_exits_is_woken_again_without_a_visitor() {
    let mut world = ready();
    world.happen(Event::Hold);
    world.happen(Event::TimePasses(30));
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_needed_workload_that_exits_early_is_woken_again_after_a_pause() {
    let mut world = ready();
    world.happen(Event::Hold);
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Event::TimePasses(20));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_veto_keeps_the_workload_awake_and_is_checked_again() {
    let mut world = ready();
    world.happen(Event::TimerFires);
    world.happen(Event::SleepCheckEnds(false));
    assert_eq!(world.state.phase(), Phase::Ready);
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_light_sleep_becomes_deep_and_a_visitor_during_the_change_is_served() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Paused, 1)));
    assert_eq!((world.state.phase(), world.state.sleeps_lightly()), (Phase::Asleep, true));
    world.happen(Event::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
    world.happen(Event::Visitor);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_workload_with_a_visit_inside_is_not_evicted() {
    let mut world = ready();
    world.happen(Event::Visitor);
    world.happen(Event::Evict);
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Event::VisitorLeaves);
    world.happen(Event::Evict);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_forced_sleep_cuts_off_the_visits_inside() {
    let mut world = ready();
    world.happen(Event::Visitor);
    world.happen(Event::OperatorSleep(Force::AtOnce));
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_wake_without_a_slot_fails_with_the_reason_of_the_pool() {
    let mut world = World::new();
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert_eq!(world.state.failure().expect("a cause").message, "the queue is full");
}

#[test]
fn a_job_completes_with_exit_status_0_and_fails_with_another() {
    for (exit, phase) in [("0", Phase::Asleep), ("3", Phase::Failed)] {
        let mut world = World::new();
        world.policy.job = true;
        world.happen(Event::Visitor);
        world.happen(Event::SlotAnswered(true));
        world.happen(Event::NeedsEnd(true));
        world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
        let mut ended = observation(Status::Stopped, 1);
        ended.attributes.insert("exit-status".into(), exit.into());
        world.input(Input::QueryStatus(Priority::Routine));
        let (ticket, _) = world.query.take().expect("a query in flight");
        world.input(Input::StatusResult(ticket, Ok(ended)));
        assert_eq!(world.state.phase(), phase);
        assert_eq!(world.state.completed().is_some(), phase == Phase::Asleep);
    }
}

#[test]
fn a_running_target_is_not_adopted_under_the_ignore_policy() {
    let mut world = World::new();
    world.policy.adopt = Adopt::Ignore;
    world.happen(Event::RoutineQuery);
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
}

#[test]
fn a_query_counts_despite_events_since_it_was_sent() {
    let mut world = ready();
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    assert!(world.query.is_some(), "the query is repeated");
}

#[test]
fn an_event_during_an_operation_leads_to_a_query_after_it() {
    let mut world = starting();
    world.happen(Event::Reported(Status::Stopped, 1));
    assert_eq!(world.query, None);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.starts[&Generation(1)], 2, "it is started once more");
}

#[test]
fn a_target_that_runs_during_a_queued_wake_is_adopted_when_the_wake_fails() {
    for hint in [true, false] {
        let mut world = World::new();
        world.happen(Event::Visitor);
        match hint {
            true => world.happen(Event::Reported(Status::Running, 1)),
            false => {
                world.happen(Event::RoutineQuery);
                world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
            }
        }
        world.happen(Event::SlotAnswered(false));
        assert_eq!(world.state.phase(), Phase::Failed);
        world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
        assert_eq!(world.state.phase(), Phase::Waking);
    }
}

#[test]
fn an_expected_event_during_an_operation_causes_no_query() {
    let mut world = starting();
    world.happen(Event::Reported(Status::Running, 1));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.query, None);
    world.happen(Event::ProbeEnds(true));
    idle(&mut world);
    world.happen(Event::Reported(Status::Stopped, 1));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!(world.query, None);
}

#[test]
fn a_failed_start_found_running_is_owned_and_stopped_if_it_does_not_get_ready() {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
    world.happen(Event::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn a_target_that_may_run_keeps_its_slot_until_its_status_is_known() {
    let mut world = starting();
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Timeout)));
    world.happen(Event::QueryEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert!(world.slot, "it may run");
    for seconds in [1, 2, 4] {
        let (_, at) = world.query_timer.expect("the query is repeated");
        assert_eq!(at - world.now, Duration::from_secs(seconds));
        world.happen(Event::QueryTimerFires);
        world.happen(Event::QueryEnds(Outcome::Error(ErrorCode::Unavailable)));
    }
    world.happen(Event::QueryTimerFires);
    world.happen(Event::QueryEnds(Outcome::Status(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.slot, world.query_timer), (Phase::Failed, false, None));
}

#[test]
fn a_target_that_was_neither_stopped_nor_woken_stays_owned() {
    let mut world = ready();
    world.policy.adopt = Adopt::Ignore;
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Event::Visitor);
    world.happen(Event::NeedsEnd(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.slot, "it still runs");
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::ProbeEnds(true));
    assert_eq!(world.state.phase(), Phase::Ready);
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping, "it is owned");
}

#[test]
fn a_wake_after_a_failed_deep_sleep_requests_a_slot_again() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Paused, 1)));
    world.happen(Event::TimerFires);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Event::Visitor);
    world.happen(Event::TimerFires);
    assert_eq!((world.state.phase(), world.requested_slot), (Phase::Failed, None));
    world.happen(Event::TimePasses(60));
    world.happen(Event::Visitor);
    assert_eq!(world.requested_slot, Some(Generation(3)));
}

#[test]
fn a_sleep_ordered_during_a_wake_stops_the_target_of_an_earlier_failed_stop() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Event::Visitor);
    world.happen(Event::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_target_started_elsewhere_after_a_failure_is_not_owned() {
    let mut world = starting();
    world.policy.adopt = Adopt::Ignore;
    world.happen(Event::TimerFires);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    world.happen(Event::Reported(Status::Running, 1));
    world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Failed, "the policy ignores it");
}

#[test]
fn an_adopted_instance_that_ends_before_readiness_leaves_no_failure() {
    for (status, phase) in [(Status::Stopped, Phase::Asleep), (Status::Missing, Phase::Missing)] {
        let mut world = World::new();
        world.happen(Event::RoutineQuery);
        world.happen(Event::QueryEnds(Outcome::Status(Status::Running, 1)));
        world.happen(Event::Reported(Status::Stopped, 1));
        world.happen(Event::QueryEnds(Outcome::Status(status, 1)));
        assert_eq!(world.state.phase(), phase);
        assert_eq!(world.state.failure(), None);
    }
}

#[test]
fn a_wake_that_fails_before_its_start_leaves_the_light_sleep() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Paused, 1)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.sleeps_lightly());
    world.happen(Event::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn a_needed_workload_in_the_light_sleep_is_woken_without_a_deep_sleep() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Event::OperationEnds(Outcome::Status(Status::Paused, 1)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(false));
    world.happen(Event::Hold);
    let (_, at) = world.timer.expect("another attempt");
    assert_eq!(at - world.now, world.policy.cooldown);
    world.happen(Event::TimerFires);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_needed_workload_whose_stop_failed_is_woken_instead_of_stopped_again() {
    let mut world = starting();
    world.happen(Event::TimerFires);
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world.happen(Event::Hold);
    for _ in 0..5 {
        if world.state.phase() == Phase::Failed {
            world.happen(Event::TimerFires);
        }
    }
    assert_eq!(world.state.phase(), Phase::Waking);
    assert_eq!(world.operation, None);
}

#[test]
fn a_retried_sleep_keeps_its_cause() {
    let mut world = ready();
    world.happen(Event::OperatorSleep(Force::Drain));
    world.happen(Event::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    let (_, effects) = {
        let (ticket, _) = world.timer.expect("armed");
        step(&world.policy, world.state.clone(), Input::Timer(ticket), world.now)
    };
    let begin = effects.iter().find_map(|effect| match effect {
        Effect::BeginRecord(OperationKind::Sleep, cause) => Some(cause.trigger),
        _ => None,
    });
    assert_eq!(begin, Some(Trigger::Cli));
}
