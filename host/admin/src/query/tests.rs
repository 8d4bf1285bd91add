#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_wait_is_a_number_of_seconds_within_reason() {
    let wait = |query| order(query, Action::Wake).map(|order| order.wait);
    assert_eq!(wait(None).unwrap(), None);
    assert_eq!(wait(Some("wait=60")).unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(wait(Some("wait=0.5")).unwrap(), Some(Duration::from_millis(500)));
    for query in ["wait=", "wait=-1", "wait=NaN", "wait=1e300", "wait=3601", "wiat=1", "wait=1m"] {
        assert_eq!(wait(Some(query)).unwrap_err().code, ErrorCode::InvalidRequest, "{query}");
    }
}

#[test]
fn an_order_is_forced_or_refreshes_only_where_that_can_be() {
    let [wake, sleep, restart, recreate] = Action::GENTLE;
    let action = |query, action| order(Some(query), action).map(|order| order.action);
    assert_eq!(action("force=true&wait=1", sleep).unwrap(), Action::Sleep { force: true });
    assert_eq!(
        action("refresh=true&force=false", recreate).unwrap(),
        Action::Recreate { force: false, refresh: true }
    );
    for (query, gentle) in [("force=true", wake), ("refresh=true", restart)] {
        assert!(action(query, gentle).is_err(), "{query}");
    }
    assert!(action("force=maybe", recreate).is_err());
}

#[test]
fn whoever_does_not_say_who_it_is_comes_over_the_api() {
    assert_eq!(order(None, Action::Wake).unwrap().source, Source::Api);
    assert_eq!(order(Some("source=cli"), Action::Wake).unwrap().source, Source::Cli);
    assert!(order(Some("source=idle"), Action::Wake).is_err());
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
