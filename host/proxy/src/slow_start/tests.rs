use futures_util::FutureExt as _;
use tokio::task::unconstrained;

use super::*;

#[tokio::test]
async fn each_response_permits_two_further_requests() {
    let slow_start = SlowStart::new(4);
    let (first, second) = (slow_start.acquire().await, slow_start.acquire().await);
    assert!(slow_start.acquire().now_or_never().is_none(), "8 for 4 threads are 2 for each");
    first.answered();
    let _third = slow_start.acquire().await;
    let _fourth = slow_start.acquire().await;
    assert!(slow_start.acquire().now_or_never().is_none());
    drop(second);
    assert!(slow_start.acquire().now_or_never().is_some(), "a failed request returns its permit");
}

#[tokio::test]
async fn a_backend_that_does_not_respond_is_not_limited_for_long() {
    let slow_start = SlowStart::new(8);
    let mut in_flight = Vec::new();
    let visitors = async {
        while in_flight.len() < 64 {
            in_flight.push(slow_start.acquire().await);
        }
    };
    timeout(Duration::from_secs(10), visitors).await.expect("every visitor gets a permit");
    assert!(slow_start.limit.get() >= 64);
}

#[tokio::test]
async fn quick_responses_raise_the_limit_to_a_usual_queue_and_no_further() {
    let slow_start = SlowStart::new(1);
    for _ in 0..10 * MAX_BY_RESPONSES {
        slow_start.acquire().await.answered();
    }
    // Tokio's cooperative budget must not make a free permit look taken.
    let at_once = || unconstrained(slow_start.acquire()).now_or_never();
    let in_flight = (0..MAX_BY_RESPONSES).map(|_| at_once().expect("a permit is free"));
    let _in_flight = in_flight.collect::<Vec<_>>();
    assert!(at_once().is_none());
}

#[tokio::test]
async fn enough_responses_in_time_do_not_double_the_limit() {
    let slow_start = SlowStart::new(8);
    slow_start.responses.set(slow_start.limit.get());
    slow_start.checked.set(Instant::now() - INTERVAL);
    slow_start.check();
    assert_eq!(slow_start.limit.get(), slow_start.initial);
    slow_start.checked.set(Instant::now() - INTERVAL);
    slow_start.check();
    assert_eq!(slow_start.limit.get(), 2 * slow_start.initial, "no response has arrived since");
}
