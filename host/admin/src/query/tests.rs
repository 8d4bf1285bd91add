#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_wait_is_a_number_of_seconds_within_reason() {
    let wait = |query| order(query, &[]).map(|order| order.wait);
    assert_eq!(wait(None).unwrap(), None);
    assert_eq!(wait(Some("wait=60")).unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(wait(Some("wait=0.5")).unwrap(), Some(Duration::from_millis(500)));
    for query in ["wait=", "wait=-1", "wait=NaN", "wait=1e300", "wait=3601", "wiat=1", "wait=1m"] {
        assert_eq!(wait(Some(query)).unwrap_err().code, ErrorCode::InvalidRequest, "{query}");
    }
}

#[test]
fn an_order_is_forced_or_refreshes_only_where_that_can_be() {
    let both = ["force", "refresh"];
    assert!(order(Some("force=true&wait=1"), &["force"]).unwrap().force);
    let refreshing = order(Some("refresh=true&force=false"), &both).unwrap();
    assert!(refreshing.refresh && !refreshing.force);
    for (query, can_be) in [("force=true", &[][..]), ("refresh=true", &["force"])] {
        assert!(order(Some(query), can_be).is_err(), "{query}");
    }
    assert!(order(Some("force=maybe"), &both).is_err());
}

#[test]
fn whoever_does_not_say_who_it_is_comes_over_the_api() {
    assert_eq!(order(None, &[]).unwrap().source, Source::Api);
    assert_eq!(order(Some("source=cli"), &[]).unwrap().source, Source::Cli);
    assert!(order(Some("source=idle"), &[]).is_err());
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
