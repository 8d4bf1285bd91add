#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_wait_is_a_number_of_seconds_up_to_the_maximum() {
    let wait = |query| operation_request(query, Action::Wake).map(|request| request.wait);
    assert_eq!(wait(None).unwrap(), None);
    assert_eq!(wait(Some("wait=60")).unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(wait(Some("wait=0.5")).unwrap(), Some(Duration::from_millis(500)));
    for query in ["wait=", "wait=-1", "wait=NaN", "wait=1e300", "wait=3601", "wiat=1", "wait=1m"] {
        assert_eq!(wait(Some(query)).unwrap_err().code, ErrorCode::InvalidRequest, "{query}");
    }
}

#[test]
fn force_and_refresh_are_valid_for_some_actions_only() {
    let [wake, sleep, restart, recreate] = Action::ALL;
    let action =
        |query, action| operation_request(Some(query), action).map(|request| request.action);
    assert_eq!(action("force=true&wait=1", sleep).unwrap(), Action::Sleep { force: true });
    assert_eq!(
        action("refresh=true&force=false", recreate).unwrap(),
        Action::Recreate { force: false, refresh: true }
    );
    for (query, invalid) in [("force=true", wake), ("refresh=true", restart)] {
        assert!(action(query, invalid).is_err(), "{query}");
    }
    assert!(action("force=maybe", recreate).is_err());
}

#[test]
fn the_default_source_is_the_api() {
    assert_eq!(operation_request(None, Action::Wake).unwrap().trigger, Trigger::Api);
    assert_eq!(operation_request(Some("trigger=cli"), Action::Wake).unwrap().trigger, Trigger::Cli);
    assert!(operation_request(Some("trigger=idle"), Action::Wake).is_err());
}

#[test]
fn operations_take_a_workload_and_a_limit() {
    assert_eq!(operations(None).unwrap(), (None, DEFAULT_LIMIT));
    let (name, limit) = operations(Some("workload=n1%2F104&limit=7")).unwrap();
    assert_eq!((name.as_deref(), limit), (Some("n1/104"), 7));
    for query in ["limit=0", "limit=1000000", "limit=x", "since=1"] {
        assert!(operations(Some(query)).is_err(), "{query}");
    }
}
