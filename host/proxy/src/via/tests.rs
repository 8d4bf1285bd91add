use proptest::prelude::*;

use super::*;
use crate::http::rejection::ProblemDetails;

const NUMBER: u64 = 0x1f2e_3d4c;

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(VIA, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

fn own() -> Pseudonym {
    Pseudonym::numbered(NUMBER)
}

fn hops(lines: &[&str]) -> (usize, usize) {
    let Hops { own, all } = own().hops(&headers(lines));
    (own, all)
}

#[test]
fn entries_are_counted_in_every_syntax() {
    let name = own().name;
    for entry in [
        format!("1.1 {name}"),
        format!("1.0 {name}"),
        format!("HTTP/1.1 {name}"),
        format!("HTTP/1.1\t  {name} (seen twice)"),
        format!("2 {name}:8080"),
        format!("1.1 {name}(no blank)"),
        format!("1.1 {}", name.to_uppercase()),
        format!("1.1 squid, 1.1 {name}, 1.1 nginx"),
        format!("1.1 squid (never closed, 1.1 {name}"),
        format!(",, 1.1 {name},"),
    ] {
        assert_eq!(hops(&[&entry]), (1, 1), "{entry}");
    }
    let (once, twice) = (format!("1.1 {name}"), format!("1.1 {name}, 1.1 {name}"));
    assert_eq!(hops(&["1.1 squid", &once, &twice]), (3, 3));
}

#[test]
fn other_entries_are_not_counted() {
    let (own, other) = (own().name, Pseudonym::numbered(7).name);
    assert_eq!(hops(&[]), (0, 0));
    for none in ["", ",", "1.1", "1.1 squid", "1.1 drowse", &own, &format!("1.1 x{own}")] {
        assert_eq!(hops(&[none]), (0, 0), "{none}");
    }
    assert_eq!(hops(&[&format!("1.1 {other}")]), (0, 1));
    assert_eq!(hops(&[&format!("1.1 {own}0")]), (0, 1), "another number");
}

#[test]
fn pseudonyms_are_unique() {
    assert_ne!(Pseudonym::random().unwrap().name, Pseudonym::random().unwrap().name);
}

#[test]
fn two_routers_in_series_are_no_loop_and_many_hops_are_one() {
    let guard = LoopGuard::new(own());
    let passed = |entries: usize, number: fn(usize) -> u64| {
        let mut headers = HeaderMap::new();
        for entry in 0..entries {
            let by = Pseudonym::numbered(number(entry));
            headers.append(VIA, by.of_request(Version::HTTP_11));
        }
        guard
            .check(&headers, "web", "app")
            .map_err(|found| ProblemDetails::from(found).status().as_u16())
    };
    assert_eq!(passed(0, |_| 0), Ok(()));
    assert_eq!(passed(MAX_OWN_HOPS - 1, |_| NUMBER), Ok(()));
    assert_eq!(passed(MAX_OWN_HOPS, |_| NUMBER), Err(508));
    let others = |n| u64::try_from(n).unwrap();
    assert_eq!(passed(MAX_ROUTER_HOPS - 1, others), Ok(()));
    assert_eq!(passed(MAX_ROUTER_HOPS, others), Err(508));
}

proptest! {
    /// For any entries of other proxies and any joining of lines.
    #[test]
    fn own_entries_are_never_overlooked(
        noise in proptest::collection::vec("[ -~\\t]{0,30}", 0..8),
        laps in 0..8_usize,
        joined: bool,
    ) {
        let entry = format!("1.1 {}", own().name);
        let lines: Vec<&str> =
            noise.iter().map(String::as_str).chain(std::iter::repeat_n(entry.as_str(), laps)).collect();
        let seen = if joined { hops(&[&lines.join(", ")]) } else { hops(&lines) };
        prop_assert_eq!(seen.0, laps);
        prop_assert!(seen.1 >= laps);
    }

    #[test]
    fn any_value_is_handled_without_panic(lines in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..60), 0..6,
    )) {
        let mut headers = HeaderMap::new();
        for line in lines {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                headers.append(VIA, value);
            }
        }
        let hops = own().hops(&headers);
        prop_assert_eq!(hops.own, 0);
    }
}
