use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn both(all: u32, client: u32) -> WakeLimits {
    WakeLimits {
        all: Some(Rate { count: all, per: HOUR }),
        client: Some(Rate { count: client, per: 10 * MINUTE }),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_client_over_its_limit_is_refused_and_others_are_not() {
    let (mut history, begin) = (WakeHistory::default(), Instant::now());
    let (limits, one, two) = (both(100, 2), address("192.0.2.1"), address("192.0.2.2"));
    assert_eq!(history.charge(&limits, one, begin), Ok(()));
    assert_eq!(history.charge(&limits, one, begin + MINUTE), Ok(()));
    let exceeded = history.charge(&limits, one, begin + 2 * MINUTE).unwrap_err();
    assert!(exceeded.per_client);
    assert_eq!(exceeded.retry_after, 8 * MINUTE, "ten minutes after the first wake");
    assert_eq!(history.charge(&limits, two, begin + 2 * MINUTE), Ok(()));
    assert_eq!(history.charge(&limits, one, begin + 10 * MINUTE), Ok(()));
    assert!(history.charge(&limits, one, begin + 10 * MINUTE).is_err());
}

#[test]
fn the_common_limit_counts_all_clients() {
    let (mut history, begin) = (WakeHistory::default(), Instant::now());
    let limits = both(3, 3);
    for n in 1..=3 {
        assert_eq!(history.charge(&limits, IpAddr::from([192, 0, 2, n]), begin), Ok(()));
    }
    let exceeded = history.charge(&limits, address("192.0.2.9"), begin + MINUTE).unwrap_err();
    assert!(!exceeded.per_client);
    assert_eq!(exceeded.retry_after, 59 * MINUTE);
}

#[test]
fn a_refused_wake_is_not_charged() {
    let (mut history, begin) = (WakeHistory::default(), Instant::now());
    let (limits, one) = (both(1, 5), address("192.0.2.1"));
    history.charge(&limits, one, begin).unwrap();
    for n in 1..100 {
        history.charge(&limits, one, begin + n * Duration::from_secs(1)).unwrap_err();
    }
    assert_eq!(history.charge(&limits, one, begin + HOUR), Ok(()));
}

#[test]
fn one_ipv6_subscriber_is_one_client() {
    let (mut history, begin) = (WakeHistory::default(), Instant::now());
    let limits = both(100, 1);
    history.charge(&limits, address("2001:db8:1:2::a"), begin).unwrap();
    assert!(history.charge(&limits, address("2001:db8:1:2:ffff::b"), begin).is_err());
    assert!(history.charge(&limits, address("2001:db8:1:3::a"), begin).is_ok());
    history.charge(&limits, address("192.0.2.1"), begin).unwrap();
    assert!(history.charge(&limits, address("::ffff:192.0.2.1"), begin).is_err());
}

#[test]
fn the_number_of_client_histories_is_bounded() {
    let (mut history, begin) = (WakeHistory::default(), Instant::now());
    let limits = WakeLimits { all: None, ..both(1, 1) };
    let client = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
    for n in 0..CLIENTS + 10 {
        let now = begin + Duration::from_millis(n as u64);
        history.charge(&limits, client(n), now).unwrap();
    }
    assert_eq!(history.clients.len(), CLIENTS);
    let now = begin + 5 * MINUTE;
    assert!(
        history.charge(&limits, client(CLIENTS + 9), now).is_err(),
        "the last client has a history"
    );
    assert!(history.charge(&limits, client(0), now).is_ok(), "the first client was dropped");
    history.charge(&limits, client(CLIENTS + 99), begin + HOUR).unwrap();
    assert_eq!(history.clients.len(), 1, "expired clients are dropped");
}

#[test]
fn the_explanation_names_the_limit() {
    let name = WorkloadName::parse("blog").unwrap();
    let explain = |per_client, count, per| {
        let rate = Rate { count, per };
        LimitExceeded { per_client, rate, retry_after: MINUTE }.explain(&name)
    };
    let message = explain(true, 3, 10 * MINUTE);
    assert_eq!(message, "You have woken blog 3 times within 10 minutes, its limit for one client.");
    let message = explain(false, 1, HOUR);
    assert_eq!(message, "blog was woken 1 time within 1 hour, its limit for all clients.");
}

proptest! {
    /// No window of the limit's length contains more wakes than the limit, and there is room for
    /// another wake exactly after `retry_after`.
    #[test]
    fn a_limit_holds_in_every_window(
        count in 1u32..6,
        seconds in 1u64..100,
        pauses in prop::collection::vec(0u64..40_000, 1..200),
    ) {
        let rate = Rate { count, per: Duration::from_secs(seconds) };
        let limits = WakeLimits { all: Some(rate), client: None };
        let (mut history, mut now) = (WakeHistory::default(), Instant::now());
        let mut woken: Vec<Instant> = Vec::new();
        for pause in pauses {
            now += Duration::from_millis(pause);
            let recent = woken.iter().filter(|at| now.duration_since(**at) < rate.per).count();
            match history.charge(&limits, address("192.0.2.1"), now) {
                Ok(()) => {
                    prop_assert!(recent < count as usize);
                    woken.push(now);
                }
                Err(exceeded) => {
                    prop_assert_eq!(recent, count as usize);
                    prop_assert!(!exceeded.retry_after.is_zero() && exceeded.retry_after <= rate.per);
                    let mut later = WakeHistory { all: history.all.clone(), ..WakeHistory::default() };
                    let client = address("192.0.2.1");
                    let just_before = now + exceeded.retry_after - Duration::from_nanos(1);
                    prop_assert!(later.charge(&limits, client, just_before).is_err());
                    prop_assert_eq!(later.charge(&limits, client, now + exceeded.retry_after), Ok(()));
                }
            }
        }
    }
}
