use super::*;

#[test]
fn a_new_gate_is_closed() {
    let gate = Gate::new();
    assert!(!gate.enter());
    assert_eq!(gate.visits(), 0);
}

#[test]
fn close_if_empty_leaves_an_occupied_gate_open() {
    let gate = Gate::new();
    gate.open();
    assert!(gate.enter());
    assert!(!gate.close_if_empty());
    assert_eq!(gate.leave(), LeaveOutcome::Empty);
    assert!(gate.close_if_empty());
    assert!(!gate.enter());
}

#[test]
fn the_last_visit_that_leaves_a_closed_gate_drains_it() {
    let gate = Gate::new();
    gate.open();
    assert!(gate.enter());
    assert!(gate.enter());
    assert_eq!(gate.close(), CloseOutcome::Occupied(2));
    assert_eq!(gate.leave(), LeaveOutcome::Occupied);
    assert_eq!(gate.leave(), LeaveOutcome::Drained);
}
