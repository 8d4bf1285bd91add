use futures_util::FutureExt as _;

use super::*;

const LIFE: Generation = Generation(7);

fn quiet(ramp: Rc<Ramp>) -> Upstream<()> {
    Upstream { workload: (), generation: LIFE, idle: Vec::new(), ramp, suspicion: None }
}

fn grown() -> Rc<Ramp> {
    let ramp = Ramp::new(1);
    ramp.step().now_or_never().expect("there is room at first").answered();
    ramp
}

#[tokio::test]
async fn what_a_life_can_take_is_remembered_while_it_lasts() {
    let clock = Clock::new();
    let mut upstream = quiet(grown());
    assert!(upstream.sweep(Phase::Ready, LIFE, &clock), "the crowd may come back");
    assert!(!upstream.is_used(), "and nothing has to be swept for that");
    assert!(!upstream.sweep(Phase::Ready, LIFE.next(), &clock), "another life is another matter");
    assert!(!upstream.sweep(Phase::Draining, LIFE, &clock));
}

#[test]
fn nothing_is_kept_of_a_life_that_has_shown_nothing() {
    let clock = Clock::new();
    let ramp = Ramp::new(1);
    let mut upstream = quiet(ramp.clone());
    assert!(upstream.sweep(Phase::Ready, LIFE, &clock), "somebody is about to connect");
    drop(ramp);
    assert!(!upstream.sweep(Phase::Ready, LIFE, &clock));
}
