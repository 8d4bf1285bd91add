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

/// A visitor never finds the backend stopping: whoever closes an empty gate may stop it at once.
#[test]
fn nobody_is_inside_a_workload_that_is_stopped() {
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

/// A forced close is followed by exactly one word that the last visit has left, if any was inside.
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
                    if gate.enter() && gate.leave() == Left::Drained {
                        drained.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();

        let expected = match gate.close() {
            Closed::Empty => 0,
            Closed::Occupied(_) => 1,
        };
        for visitor in visitors {
            visitor.join().expect("visitor");
        }
        assert_eq!(drained.load(Ordering::Relaxed), expected);
        assert_eq!(gate.visits(), 0);
        assert!(!gate.enter());
    });
}

/// What was written before the gate was opened (the life's addresses) is seen by who enters.
#[test]
fn who_enters_sees_what_was_written_before_the_gate_opened() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let life = Arc::new(AtomicUsize::new(0));

        let visitor = {
            let (gate, life) = (gate.clone(), life.clone());
            thread::spawn(move || {
                if gate.enter() {
                    assert_eq!(life.load(Ordering::Relaxed), 7);
                    gate.leave();
                }
            })
        };
        life.store(7, Ordering::Relaxed);
        gate.open();
        visitor.join().expect("visitor");
    });
}
