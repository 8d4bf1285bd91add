//! Workloads that a schedule keeps awake.

use super::{histories::ready, *};

/// Ready within its window, a while after it was started.
fn in_window() -> World {
    let mut world = ready();
    world.happen(Happening::Window(true));
    world.now += Duration::from_secs(30);
    world
}

/// The cause of the wake that this input leads to.
fn wake_cause(world: &World, input: Input) -> Option<Source> {
    let (_, effects) = step(&world.policy, world.state.clone(), input, world.now);
    effects.iter().find_map(|effect| match effect {
        Effect::BeginRecord(Kind::Wake, cause) => Some(cause.source),
        _ => None,
    })
}

#[test]
fn what_dies_in_its_window_is_woken_again_by_its_schedule() {
    for (dependents, source) in [(0, Source::Schedule), (1, Source::Dependency)] {
        let mut world = in_window();
        (0..dependents).for_each(|_| world.happen(Happening::Hold));
        world.happen(Happening::Event(Status::Stopped, 1));
        let (ticket, _) = world.look.expect("looking");
        let died = Input::StatusResult(ticket, Ok(seen(Status::Stopped, 1)));
        assert_eq!(wake_cause(&world, died), Some(source));
    }
}

#[test]
fn force_overrules_a_schedule_until_its_window_ends() {
    let mut world = in_window();
    assert!(world.state.is_kept_awake(Force::Drain) && !world.state.is_kept_awake(Force::AtOnce));
    world.happen(Happening::OperatorSleep(Force::Drain));
    assert_eq!(world.state.phase(), Phase::Ready);
    world.happen(Happening::OperatorSleep(Force::AtOnce));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    world.happen(Happening::TimePasses(100));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Happening::Window(false));
    world.happen(Happening::Window(true));
    assert_eq!(world.state.phase(), Phase::Waking, "the next window counts");
}

#[test]
fn a_visitor_ends_what_force_has_overruled() {
    let mut world = in_window();
    world.happen(Happening::OperatorSleep(Force::AtOnce));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    world.happen(Happening::Visitor);
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    world.happen(Happening::VisitorLeaves);
    world.happen(Happening::TimePasses(100));
    assert_eq!(world.state.phase(), Phase::Ready, "its schedule keeps it awake again");
}

#[test]
fn force_does_not_overrule_a_workload_that_needs_it() {
    let mut world = in_window();
    world.happen(Happening::Hold);
    world.happen(Happening::OperatorSleep(Force::AtOnce));
    assert_eq!(world.state.phase(), Phase::Ready);
}
