//! Histories that mean something.

use super::*;

/// A world in which somebody wants it, and the provider is asked to start it.
pub(super) fn starting() -> World {
    let mut world = World::new();
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Start));
    world
}

/// A world in which the workload is ready, and nobody has come in yet.
pub(super) fn ready() -> World {
    let mut world = starting();
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    assert_eq!(world.state.phase(), Phase::Ready);
    world
}

/// Nobody has come for the idle time, and nothing speaks against sleeping.
pub(super) fn idle(world: &mut World) {
    world.happen(Happening::TimerFires);
    world.happen(Happening::QuestionEnds(true));
}

#[test]
fn many_visitors_cause_one_start() {
    let mut world = starting();
    for _ in 0..10_000 {
        world.happen(Happening::Visitor);
    }
    assert_eq!(world.starts.values().sum::<u32>(), 1);
}

#[test]
fn a_visitor_during_stopping_is_served_by_the_next_wake() {
    let mut world = ready();
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_late_event_of_the_last_life_does_not_end_this_one() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    assert_eq!(world.state.phase(), Phase::Ready, "an event alone decides nothing");
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Ready, Generation(1)));
}

#[test]
fn a_look_asked_for_before_an_operation_is_stale() {
    let mut world = World::new();
    world.happen(Happening::Synced);
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Ready);
}

#[test]
fn nobody_looks_during_an_operation_but_after_it() {
    let mut world = starting();
    world.happen(Happening::Synced);
    assert_eq!(world.look, None, "it could see what was before the start");
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    assert!(world.look.is_some());
}

#[test]
fn a_backend_that_dies_while_awake_is_asleep_and_the_next_visitor_wakes_it() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Happening::Visitor);
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_failed_start_answers_visitors_until_the_cool_down_is_over() {
    let mut world = starting();
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world.happen(Happening::Visitor);
    assert_eq!(world.starts.values().sum::<u32>(), 1, "nothing is tried in the cool-down");
    world.happen(Happening::TimePasses(6));
    world.happen(Happening::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_wake_that_never_gets_ready_fails_with_what_was_seen_and_is_stopped() {
    let mut world = starting();
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(false));
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    let failure = world.state.failure().expect("a cause").message.clone();
    assert!(failure.contains("refused"), "{failure}");
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn a_failed_stop_is_tried_again_and_shown() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.failure().expect("shown").message.contains("tried again in 1s"));
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert!(world.state.failure().expect("shown").message.contains("tried again in 2s"));
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    assert_eq!(world.state.failure(), None);
}

#[test]
fn what_runs_at_boot_is_adopted_and_not_stopped_when_it_does_not_answer() {
    let mut world = World::new();
    world.happen(Happening::Synced);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    assert_eq!(world.operation, None);
}

#[test]
fn an_operator_waits_for_visits_inside_but_not_for_ever() {
    let mut world = ready();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Draining);
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_container_recreated_under_the_same_name_must_show_that_it_is_ready() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Running, 2));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 2)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
    assert!(world.operation.is_none(), "it runs already");
}

#[test]
fn one_that_is_needed_does_not_sleep_before_it_is_released() {
    let mut world = ready();
    world.happen(Happening::Hold);
    world.happen(Happening::TimePasses(60));
    world.happen(Happening::QuestionEnds(true));
    world.happen(Happening::Evict);
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Happening::Release);
    assert_eq!(world.last_left, world.now, "its idle time begins when it is released");
    world.happen(Happening::TimePasses(20));
    world.happen(Happening::QuestionEnds(true));
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn one_that_is_needed_and_dies_is_woken_again_without_a_visitor() {
    let mut world = ready();
    world.happen(Happening::Hold);
    world.happen(Happening::TimePasses(30));
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn one_that_is_needed_and_dies_young_rests_before_it_is_woken_again() {
    let mut world = ready();
    world.happen(Happening::Hold);
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Happening::TimePasses(20));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn what_speaks_against_sleeping_keeps_it_awake_and_is_asked_again() {
    let mut world = ready();
    world.happen(Happening::TimerFires);
    world.happen(Happening::QuestionEnds(false));
    assert_eq!(world.state.phase(), Phase::Ready);
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_light_sleep_becomes_a_deep_one_and_a_visitor_wakes_it_from_either() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Paused, 1)));
    assert_eq!((world.state.phase(), world.state.sleeps_lightly()), (Phase::Asleep, true));
    world.happen(Happening::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn one_with_a_visitor_inside_is_not_evicted() {
    let mut world = ready();
    world.happen(Happening::Visitor);
    world.happen(Happening::Evict);
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Happening::VisitorLeaves);
    world.happen(Happening::Evict);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_forced_operator_cuts_off_whoever_is_inside() {
    let mut world = ready();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperatorSleep(Force::AtOnce));
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_wake_for_which_there_is_no_place_fails_with_the_reason() {
    let mut world = World::new();
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert_eq!(world.state.failure().expect("a cause").message, "the queue is full");
}

#[test]
fn a_job_that_ended_well_is_complete_and_one_that_did_not_has_failed() {
    for (exit, phase) in [("0", Phase::Asleep), ("3", Phase::Failed)] {
        let mut world = World::new();
        world.policy.job = true;
        world.happen(Happening::Visitor);
        world.happen(Happening::SlotAnswered(true));
        world.happen(Happening::NeedsEnd(true));
        world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
        let mut ended = seen(Status::Stopped, 1);
        ended.attributes.insert("exit-status".into(), exit.into());
        world.input(Input::QueryStatus(Priority::Routine));
        let (ticket, _) = world.look.take().expect("looking");
        world.input(Input::StatusResult(ticket, Ok(ended)));
        assert_eq!(world.state.phase(), phase);
        assert_eq!(world.state.completed().is_some(), phase == Phase::Asleep);
    }
}

#[test]
fn what_is_told_to_be_left_alone_is_not_adopted() {
    let mut world = World::new();
    world.policy.adopt = Adopt::Ignore;
    world.happen(Happening::Synced);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
}

#[test]
fn where_something_happens_all_the_time_every_look_counts() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    assert!(world.look.is_some(), "and it is looked again");
}

#[test]
fn what_happened_during_an_operation_is_looked_at_when_it_is_answered() {
    let mut world = starting();
    world.happen(Happening::Event(Status::Stopped, 1));
    assert_eq!(world.look, None);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.starts[&Generation(1)], 2, "it is started once more");
}

#[test]
fn what_runs_while_its_wake_waits_is_adopted_when_the_wake_has_failed() {
    for hint in [true, false] {
        let mut world = World::new();
        world.happen(Happening::Visitor);
        match hint {
            true => world.happen(Happening::Event(Status::Running, 1)),
            false => {
                world.happen(Happening::Synced);
                world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
            }
        }
        world.happen(Happening::SlotAnswered(false));
        assert_eq!(world.state.phase(), Phase::Failed);
        world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
        assert_eq!(world.state.phase(), Phase::Waking);
    }
}

#[test]
fn an_ordinary_event_of_an_operation_costs_no_look() {
    let mut world = starting();
    world.happen(Happening::Event(Status::Running, 1));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.look, None);
    world.happen(Happening::ProbeEnds(true));
    idle(&mut world);
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.look, None);
}

#[test]
fn a_start_that_failed_and_is_found_running_is_ours_and_stopped_if_it_does_not_get_ready() {
    let mut world = starting();
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
    world.happen(Happening::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn one_that_may_have_been_started_keeps_its_place_until_that_is_known() {
    let mut world = starting();
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Timeout)));
    world.happen(Happening::LookEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert!(world.slot, "it may run");
    for seconds in [1, 2, 4] {
        let (_, at) = world.look_timer.expect("it is looked at again");
        assert_eq!(at - world.now, Duration::from_secs(seconds));
        world.happen(Happening::LookTimerFires);
        world.happen(Happening::LookEnds(Outcome::Error(ErrorCode::Unavailable)));
    }
    world.happen(Happening::LookTimerFires);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.slot, world.look_timer), (Phase::Failed, false, None));
}

#[test]
fn one_that_could_not_be_stopped_and_then_not_be_woken_is_not_forgotten() {
    let mut world = ready();
    world.policy.adopt = Adopt::Ignore;
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Happening::Visitor);
    world.happen(Happening::NeedsEnd(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.slot, "it still runs");
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    assert_eq!(world.state.phase(), Phase::Ready);
    idle(&mut world);
    assert_eq!(world.state.phase(), Phase::Stopping, "it is ours");
}

#[test]
fn one_whose_deepening_failed_asks_for_a_place_anew_when_there_was_none() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Paused, 1)));
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Happening::Visitor);
    world.happen(Happening::TimerFires);
    assert_eq!((world.state.phase(), world.asked_slot), (Phase::Failed, None));
    world.happen(Happening::TimePasses(60));
    world.happen(Happening::Visitor);
    assert_eq!(world.asked_slot, Some(Generation(3)));
}

#[test]
fn an_operator_who_ends_a_wake_stops_what_a_failed_stop_left_running() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    world.happen(Happening::Visitor);
    world.happen(Happening::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn what_somebody_else_starts_after_a_failure_is_not_ours() {
    let mut world = starting();
    world.policy.adopt = Adopt::Ignore;
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    world.happen(Happening::Event(Status::Running, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Failed, "it is to be left alone");
}

#[test]
fn an_adopted_life_that_ends_before_it_is_ready_leaves_no_failure() {
    for (status, phase) in [(Status::Stopped, Phase::Asleep), (Status::Missing, Phase::Missing)] {
        let mut world = World::new();
        world.happen(Happening::Synced);
        world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
        world.happen(Happening::Event(Status::Stopped, 1));
        world.happen(Happening::LookEnds(Outcome::Seen(status, 1)));
        assert_eq!(world.state.phase(), phase);
        assert_eq!(world.state.failure(), None);
    }
}

#[test]
fn one_that_sleeps_lightly_still_does_after_a_wake_that_never_touched_it() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Paused, 1)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(false));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.sleeps_lightly());
    world.happen(Happening::TimerFires);
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::DeepSleep));
}

#[test]
fn one_that_is_needed_while_it_sleeps_lightly_is_not_deepened_first() {
    let mut world = ready();
    idle(&mut world);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Paused, 1)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(false));
    world.happen(Happening::Hold);
    let (_, at) = world.timer.expect("it is tried again");
    assert_eq!(at - world.now, world.policy.cooldown);
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn one_that_is_needed_and_could_not_be_stopped_is_woken_instead_of_stopped_again() {
    let mut world = starting();
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world.happen(Happening::Hold);
    for _ in 0..5 {
        if world.state.phase() == Phase::Failed {
            world.happen(Happening::TimerFires);
        }
    }
    assert_eq!(world.state.phase(), Phase::Waking);
    assert_eq!(world.operation, None);
}

#[test]
fn a_sleep_that_is_tried_again_keeps_its_cause() {
    let mut world = ready();
    world.happen(Happening::OperatorSleep(Force::Drain));
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    let (_, effects) = {
        let (ticket, _) = world.timer.expect("armed");
        step(&world.policy, world.state.clone(), Input::Timer(ticket), world.now)
    };
    let begin = effects.iter().find_map(|effect| match effect {
        Effect::BeginRecord(Kind::Sleep, cause) => Some(cause.source),
        _ => None,
    });
    assert_eq!(begin, Some(Source::Cli));
}
