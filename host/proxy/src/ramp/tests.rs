use futures_util::FutureExt as _;
use tokio::task::unconstrained;

use super::*;

#[tokio::test]
async fn each_answer_makes_room_for_two() {
    let ramp = Ramp::new(4);
    let (first, second) = (ramp.step().await, ramp.step().await);
    assert!(ramp.step().now_or_never().is_none(), "8 for 4 threads are 2 for each");
    first.answered();
    let _third = ramp.step().await;
    let _fourth = ramp.step().await;
    assert!(ramp.step().now_or_never().is_none());
    drop(second);
    assert!(ramp.step().now_or_never().is_some(), "a broken connection gives its place back");
}

#[tokio::test]
async fn a_backend_that_does_not_answer_holds_nobody_back_for_long() {
    let ramp = Ramp::new(8);
    let mut inside = Vec::new();
    let crowd = async {
        while inside.len() < 64 {
            inside.push(ramp.step().await);
        }
    };
    timeout(Duration::from_secs(10), crowd).await.expect("everybody gets in");
    assert!(ramp.width.get() >= 64);
}

#[tokio::test]
async fn quick_answers_let_no_more_in_than_a_usual_queue_holds() {
    let ramp = Ramp::new(1);
    for _ in 0..10 * QUICK {
        ramp.step().await.answered();
    }
    // However often it has been polled already.
    let at_once = || unconstrained(ramp.step()).now_or_never();
    let inside = (0..QUICK).map(|_| at_once().expect("there is room"));
    let _inside = inside.collect::<Vec<_>>();
    assert!(at_once().is_none());
}

#[tokio::test]
async fn enough_answers_in_time_are_no_reason_for_more() {
    let ramp = Ramp::new(8);
    ramp.answers.set(ramp.width.get());
    ramp.judged.set(Instant::now() - PATIENCE);
    ramp.judge();
    assert_eq!(ramp.width.get(), ramp.first);
    ramp.judged.set(Instant::now() - PATIENCE);
    ramp.judge();
    assert_eq!(ramp.width.get(), 2 * ramp.first, "nobody was answered since");
}
