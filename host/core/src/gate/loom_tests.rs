//! Every interleaving of the gate's operations, checked by loom.
//! Run with `RUSTFLAGS="--cfg drowse_loom" cargo test -p drowse-core --release loom`.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::*;

/// The backend may be stopped as soon as an empty gate is closed: no visitor is inside then.
#[test]
fn no_visit_is_inside_after_close_if_empty() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let stopping = Arc::new(AtomicBool::new(false));
        gate.open();

        let visitors: Vec<_> = (0..2)
            .map(|_| {
                let (gate, stopping) = (gate.clone(), stopping.clone());
                thread::spawn(move || {
                    if gate.enter() {
                        assert!(!stopping.load(Ordering::Relaxed), "admitted while stopping");
                        gate.leave();
                    }
                })
            })
            .collect();

        if gate.close_if_empty() {
            stopping.store(true, Ordering::Relaxed);
        }
        for visitor in visitors {
            visitor.join().expect("visitor");
        }
    });
}

/// A forced close with visits inside is followed by exactly one `Drained`.
#[test]
fn a_forced_close_is_drained_exactly_once() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let drained = Arc::new(AtomicUsize::new(0));
        gate.open();

        let visitors: Vec<_> = (0..2)
            .map(|_| {
                let (gate, drained) = (gate.clone(), drained.clone());
                thread::spawn(move || {
                    if gate.enter() && gate.leave() == LeaveOutcome::Drained {
                        drained.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();

        let expected = match gate.close() {
            CloseOutcome::Empty => 0,
            CloseOutcome::Occupied(_) => 1,
        };
        for visitor in visitors {
            visitor.join().expect("visitor");
        }
        assert_eq!(drained.load(Ordering::Relaxed), expected);
        assert_eq!(gate.visits(), 0);
        assert!(!gate.enter());
    });
}

/// Writes before the gate is opened (the instance's addresses) are visible to visits that enter.
#[test]
fn writes_before_the_gate_opens_are_visible_to_visits() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let instance = Arc::new(AtomicUsize::new(0));

        let visitor = {
            let (gate, instance) = (gate.clone(), instance.clone());
            thread::spawn(move || {
                if gate.enter() {
                    assert_eq!(instance.load(Ordering::Relaxed), 7);
                    gate.leave();
                }
            })
        };
        instance.store(7, Ordering::Relaxed);
        gate.open();
        visitor.join().expect("visitor");
    });
}
