//! What an operator has restarted or made anew.

use super::{
    histories::{idle, ready, starting},
    *,
};

const RECREATE: Renewal = Renewal::Recreate { refresh: false };

fn renew(world: &mut World, renewal: Renewal) {
    world.happen(Happening::OperatorRenew(Force::Drain, renewal));
}

fn operation(world: &World) -> Option<Operation> {
    world.operation.map(|(_, operation)| operation)
}

/// What is asked for next is answered with this.
fn ends(world: &mut World, status: Status) {
    world.happen(Happening::OperationEnds(Outcome::Seen(status, 1)));
}

/// Its next life gets its place and what it needs.
fn next_life(world: &mut World) {
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
    world.happen(Happening::SlotAnswered(true));
    world.happen(Happening::NeedsEnd(true));
    assert_eq!(operation(world), Some(Operation::Start));
}

#[test]
fn a_restart_lets_visitors_end_and_wakes_it_again_though_nobody_asks() {
    let mut world = ready();
    world.happen(Happening::Visitor);
    renew(&mut world, Renewal::Restart);
    assert_eq!((world.state.phase(), operation(&world)), (Phase::Draining, None));
    world.happen(Happening::VisitorLeaves);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_life(&mut world);
}

#[test]
fn what_is_made_anew_awake_is_awake_afterwards_and_what_sleeps_sleeps_on() {
    let mut world = ready();
    renew(&mut world, RECREATE);
    assert_eq!(operation(&world), Some(Operation::Renew(RECREATE)));
    ends(&mut world, Status::Running);
    next_life(&mut world);

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
fn a_visitor_while_it_is_made_anew_is_served_afterwards() {
    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(Happening::Visitor);
    ends(&mut world, Status::Stopped);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn one_that_was_made_anew_and_runs_though_it_slept_is_found() {
    let mut world = World::new();
    renew(&mut world, RECREATE);
    ends(&mut world, Status::Running);
    assert!(world.look.is_some());
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn what_cannot_be_made_anew_is_woken_again_or_sleeps_on_and_visitors_are_not_told_of_it() {
    let refused = || Happening::OperationEnds(Outcome::Error(ErrorCode::Denied));
    let mut world = ready();
    renew(&mut world, RECREATE);
    world.happen(refused());
    next_life(&mut world);

    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(refused());
    assert_eq!((world.state.phase(), world.state.failure()), (Phase::Asleep, None));
    assert!(world.look.is_some(), "it may be half done");
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!((operation(&world), world.timer), (None, None), "an order is not repeated");
}

#[test]
fn what_does_not_exist_cannot_be_made_anew_but_has_been_stopped() {
    let not_found = || Happening::OperationEnds(Outcome::Error(ErrorCode::NotFound));
    let mut world = World::new();
    renew(&mut world, RECREATE);
    world.happen(not_found());
    assert_eq!(world.ended, Some(Err(ErrorCode::NotFound)));

    let mut world = ready();
    renew(&mut world, Renewal::Restart);
    world.happen(not_found());
    assert_eq!(world.ended, Some(Ok(())));
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_restart_of_what_starts_gives_the_start_up() {
    let mut world = starting();
    renew(&mut world, Renewal::Restart);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_life(&mut world);
}

#[test]
fn a_light_sleep_is_no_restart() {
    let mut world = ready();
    idle(&mut world);
    ends(&mut world, Status::Paused);
    assert!(world.state.sleeps_lightly());
    renew(&mut world, Renewal::Restart);
    assert_eq!(operation(&world), Some(Operation::Renew(Renewal::Restart)));
    ends(&mut world, Status::Stopped);
    next_life(&mut world);
}

#[test]
fn on_its_way_to_sleep_nothing_is_renewed_and_a_sleep_ends_a_renewal_that_has_not_begun() {
    let mut world = ready();
    idle(&mut world);
    assert!(!world.state.may_be_renewed() && !world.state.is_renewed());

    let mut world = ready();
    world.happen(Happening::Visitor);
    renew(&mut world, Renewal::Restart);
    assert!(!world.state.may_be_renewed() && world.state.is_renewed());
    world.happen(Happening::OperatorSleep(Force::AtOnce));
    assert_eq!(operation(&world), Some(Operation::Sleep));
    ends(&mut world, Status::Stopped);
    assert_eq!(world.state.phase(), Phase::Asleep);
}
