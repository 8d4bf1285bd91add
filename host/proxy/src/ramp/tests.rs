use futures_util::FutureExt as _;

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
