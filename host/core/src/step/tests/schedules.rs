//! Workloads that a schedule keeps awake.

use super::{histories::ready, *};

/// Ready within its window, 30 s after its start.
fn in_window() -> World {
    let mut world = ready();
    world.happen(Event::Window(true));
    world.now += Duration::from_secs(30);
    world
}

/// Trigger of the wake that this input leads to.
fn wake_cause(world: &World, input: Input) -> Option<Trigger> {
    let (_, effects) = step(&world.policy, world.state.clone(), input, world.now);
    effects.iter().find_map(|effect| match effect {
        Effect::BeginRecord(OperationKind::Wake, cause) => Some(cause.trigger),
        _ => None,
    })
}

#[test]
fn an_instance_that_exits_within_its_window_is_woken_by_the_schedule() {
    for (dependents, trigger) in [(0, Trigger::Schedule), (1, Trigger::Dependency)] {
        let mut world = in_window();
        (0..dependents).for_each(|_| world.happen(Event::Hold));
        world.happen(Event::Reported(Status::Stopped, 1));
        let (ticket, _) = world.query.expect("a query in flight");
        let exited = Input::StatusResult(ticket, Ok(observation(Status::Stopped, 1)));
        assert_eq!(wake_cause(&world, exited), Some(trigger));
    }
}

#[test]
fn a_forced_sleep_overrules_a_schedule_until_its_window_ends() {
    let mut world = in_window();
    assert!(world.state.is_kept_awake(Force::Drain) && !world.state.is_kept_awake(Force::AtOnce));
    world.happen(Event::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Event::OperatorSleep(Force::AtOnce));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    world.happen(Event::TimePasses(100));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Event::Window(false));
    world.happen(Event::Window(true));
    assert_eq!(world.state.phase(), Phase::Waking, "the next window counts");
}

#[test]
fn a_visitor_restores_an_overruled_schedule_window() {
    let mut world = in_window();
    world.happen(Event::OperatorSleep(Force::AtOnce));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Stopped, 1)));
    world.happen(Event::Visitor);
    world.happen(Event::SlotAnswered(true));
    world.happen(Event::NeedsEnd(true));
    world.happen(Event::OperationEnds(Outcome::Status(Status::Running, 1)));
    world.happen(Event::ProbeEnds(true));
    world.happen(Event::VisitorLeaves);
    world.happen(Event::TimePasses(100));
    assert_eq!(world.state.phase(), Phase::Ready, "the schedule keeps it awake again");
}

#[test]
fn a_forced_sleep_does_not_overrule_a_dependent() {
    let mut world = in_window();
    world.happen(Event::Hold);
    world.happen(Event::OperatorSleep(Force::AtOnce));
    assert_eq!(world.state.phase(), Phase::Ready);
}
