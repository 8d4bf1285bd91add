#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_wait_is_a_number_of_seconds_within_reason() {
    let wait = |query| order(query, false).map(|order| order.wait);
    assert_eq!(wait(None).unwrap(), None);
    assert_eq!(wait(Some("wait=60")).unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(wait(Some("wait=0.5")).unwrap(), Some(Duration::from_millis(500)));
    for query in ["wait=", "wait=-1", "wait=NaN", "wait=1e300", "wait=3601", "wiat=1", "wait=1m"] {
        assert_eq!(wait(Some(query)).unwrap_err().code, ErrorCode::InvalidRequest, "{query}");
    }
}

#[test]
fn only_a_sleep_can_be_forced() {
    assert!(order(Some("force=true&wait=1"), true).unwrap().force);
    assert!(order(Some("force=true"), false).is_err());
    assert!(order(Some("force=maybe"), true).is_err());
}

#[test]
fn whoever_does_not_say_who_it_is_comes_over_the_api() {
    assert_eq!(order(None, true).unwrap().source, Source::Api);
    assert_eq!(order(Some("source=cli"), true).unwrap().source, Source::Cli);
    assert!(order(Some("source=idle"), true).is_err());
}

#[test]
fn operations_are_asked_for_by_name_and_number() {
    assert_eq!(operations(None).unwrap(), (None, USUAL));
    let (name, limit) = operations(Some("workload=n1%2F104&limit=7")).unwrap();
    assert_eq!((name.as_deref(), limit), (Some("n1/104"), 7));
    for query in ["limit=0", "limit=1000000", "limit=x", "since=1"] {
        assert!(operations(Some(query)).is_err(), "{query}");
    }
}
