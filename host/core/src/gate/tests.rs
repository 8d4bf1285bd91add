use super::*;

#[test]
fn a_new_gate_lets_nobody_in() {
    let gate = Gate::new();
    assert!(!gate.enter());
    assert_eq!(gate.visits(), 0);
}

#[test]
fn an_occupied_gate_is_not_closed_by_idleness() {
    let gate = Gate::new();
    gate.open();
    assert!(gate.enter());
    assert!(!gate.close_if_empty());
    assert_eq!(gate.leave(), Left::Empty);
    assert!(gate.close_if_empty());
    assert!(!gate.enter());
}

#[test]
fn the_last_visit_out_of_a_closed_gate_is_told_so() {
    let gate = Gate::new();
    gate.open();
    assert!(gate.enter());
    assert!(gate.enter());
    assert_eq!(gate.close(), Closed::Occupied(2));
    assert_eq!(gate.leave(), Left::Occupied);
    assert_eq!(gate.leave(), Left::Drained);
}
