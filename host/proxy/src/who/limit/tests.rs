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
fn a_client_is_stopped_at_its_own_limit_and_others_are_not() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    let (limits, one, two) = (both(100, 2), address("192.0.2.1"), address("192.0.2.2"));
    assert_eq!(ledger.charge(&limits, one, begin), Ok(()));
    assert_eq!(ledger.charge(&limits, one, begin + MINUTE), Ok(()));
    let over = ledger.charge(&limits, one, begin + 2 * MINUTE).unwrap_err();
    assert!(over.client);
    assert_eq!(over.again, 8 * MINUTE, "when the first one is ten minutes ago");
    assert_eq!(ledger.charge(&limits, two, begin + 2 * MINUTE), Ok(()));
    assert_eq!(ledger.charge(&limits, one, begin + 10 * MINUTE), Ok(()));
    assert!(ledger.charge(&limits, one, begin + 10 * MINUTE).is_err());
}

#[test]
fn the_limit_of_all_counts_everybody() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    let limits = both(3, 3);
    for n in 1..=3 {
        assert_eq!(ledger.charge(&limits, IpAddr::from([192, 0, 2, n]), begin), Ok(()));
    }
    let over = ledger.charge(&limits, address("192.0.2.9"), begin + MINUTE).unwrap_err();
    assert!(!over.client);
    assert_eq!(over.again, 59 * MINUTE);
}

#[test]
fn a_wake_that_is_refused_costs_nothing() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    let (limits, one) = (both(1, 5), address("192.0.2.1"));
    ledger.charge(&limits, one, begin).unwrap();
    for n in 1..100 {
        ledger.charge(&limits, one, begin + n * Duration::from_secs(1)).unwrap_err();
    }
    assert_eq!(ledger.charge(&limits, one, begin + HOUR), Ok(()));
}

#[test]
fn one_ipv6_subscriber_is_one_client() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    let limits = both(100, 1);
    ledger.charge(&limits, address("2001:db8:1:2::a"), begin).unwrap();
    assert!(ledger.charge(&limits, address("2001:db8:1:2:ffff::b"), begin).is_err());
    assert!(ledger.charge(&limits, address("2001:db8:1:3::a"), begin).is_ok());
    ledger.charge(&limits, address("192.0.2.1"), begin).unwrap();
    assert!(ledger.charge(&limits, address("::ffff:192.0.2.1"), begin).is_err());
}

#[test]
fn so_many_clients_are_remembered_and_no_more() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    let limits = WakeLimits { all: None, ..both(1, 1) };
    let client = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
    for n in 0..CLIENTS + 10 {
        let now = begin + Duration::from_millis(n as u64);
        ledger.charge(&limits, client(n), now).unwrap();
    }
    assert_eq!(ledger.clients.len(), CLIENTS);
    let now = begin + 5 * MINUTE;
    assert!(ledger.charge(&limits, client(CLIENTS + 9), now).is_err(), "the last one is known");
    assert!(ledger.charge(&limits, client(0), now).is_ok(), "the first one was forgotten");
    ledger.charge(&limits, client(CLIENTS + 99), begin + HOUR).unwrap();
    assert_eq!(ledger.clients.len(), 1, "what is over is swept out");
}

#[test]
fn the_visitor_is_told_which_limit_it_was() {
    let name = WorkloadName::parse("blog").unwrap();
    let over = |client, count, per| {
        Over { client, rate: Rate { count, per }, again: MINUTE }.explain(&name)
    };
    let said = over(true, 3, 10 * MINUTE);
    assert_eq!(said, "You have woken blog 3 times within 10 minutes, its limit for one client.");
    let said = over(false, 1, HOUR);
    assert_eq!(said, "blog was woken 1 time within 1 hour, its limit for all together.");
}

proptest! {
    /// In any stretch of time as long as the limit's there are no more wakes than it allows, and
    /// after the time that was told there is room.
    #[test]
    fn a_limit_holds_in_every_stretch_of_time(
        count in 1u32..6,
        seconds in 1u64..100,
        pauses in prop::collection::vec(0u64..40_000, 1..200),
    ) {
        let rate = Rate { count, per: Duration::from_secs(seconds) };
        let limits = WakeLimits { all: Some(rate), client: None };
        let (mut ledger, mut now) = (Ledger::default(), Instant::now());
        let mut woken: Vec<Instant> = Vec::new();
        for pause in pauses {
            now += Duration::from_millis(pause);
            let recent = woken.iter().filter(|at| now.duration_since(**at) < rate.per).count();
            match ledger.charge(&limits, address("192.0.2.1"), now) {
                Ok(()) => {
                    prop_assert!(recent < count as usize);
                    woken.push(now);
                }
                Err(over) => {
                    prop_assert_eq!(recent, count as usize);
                    prop_assert!(!over.again.is_zero() && over.again <= rate.per);
                    let mut later = Ledger { all: ledger.all.clone(), ..Ledger::default() };
                    let client = address("192.0.2.1");
                    let just_before = now + over.again - Duration::from_nanos(1);
                    prop_assert!(later.charge(&limits, client, just_before).is_err());
                    prop_assert_eq!(later.charge(&limits, client, now + over.again), Ok(()));
                }
            }
        }
    }
}
