use futures_util::FutureExt as _;

use super::*;

const GENERATION: Generation = Generation(7);

fn upstream(slow_start: Rc<SlowStart>) -> Upstream<()> {
    Upstream { workload: (), generation: GENERATION, idle: Vec::new(), slow_start, suspicion: None }
}

fn grown() -> Rc<SlowStart> {
    let slow_start = SlowStart::new(1);
    slow_start.acquire().now_or_never().expect("the first permit is free").answered();
    slow_start
}

#[tokio::test]
async fn a_grown_slow_start_is_kept_for_the_life_of_the_instance() {
    let clock = Clock::new();
    let mut upstream = upstream(grown());
    assert!(upstream.sweep(Phase::Ready, GENERATION, &clock), "the visitors may come back");
    assert!(!upstream.is_used(), "it needs no sweep");
    assert!(!upstream.sweep(Phase::Ready, GENERATION.next(), &clock), "for its instance only");
    assert!(!upstream.sweep(Phase::Draining, GENERATION, &clock));
}

#[test]
fn an_upstream_without_connections_and_growth_is_removed() {
    let clock = Clock::new();
    let slow_start = SlowStart::new(1);
    let mut upstream = upstream(slow_start.clone());
    assert!(upstream.sweep(Phase::Ready, GENERATION, &clock), "a request is about to connect");
    drop(slow_start);
    assert!(!upstream.sweep(Phase::Ready, GENERATION, &clock));
}
