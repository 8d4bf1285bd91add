use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";

fn trust() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
}

fn found(peer: &str, lines: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
    }
    real(peer.parse().unwrap(), &trust(), &headers).to_string()
}

#[test]
fn a_client_that_is_not_trusted_is_who_is_connected() {
    assert_eq!(found("203.0.113.9", &["192.0.2.1"]), "203.0.113.9");
    assert_eq!(found("203.0.113.9", &[]), "203.0.113.9");
}

#[test]
fn behind_trusted_proxies_it_is_the_right_most_address_that_is_not_theirs() {
    assert_eq!(found(PROXY, &["192.0.2.1"]), "192.0.2.1");
    assert_eq!(found(PROXY, &["1.1.1.1, 192.0.2.1, 10.2.3.4"]), "192.0.2.1");
    assert_eq!(found(PROXY, &["1.1.1.1", "192.0.2.1", "10.2.3.4, fd00::1"]), "192.0.2.1");
    assert_eq!(found(PROXY, &["10.9.9.9, 10.8.8.8"]), "10.9.9.9");
    assert_eq!(found(PROXY, &[]), PROXY);
}

#[test]
fn addresses_are_read_as_proxies_write_them() {
    assert_eq!(found(PROXY, &["192.0.2.1:4711"]), "192.0.2.1");
    assert_eq!(found(PROXY, &["[2001:db8::1]:4711"]), "2001:db8::1");
    assert_eq!(found(PROXY, &["[2001:db8::1]"]), "2001:db8::1");
    assert_eq!(found(PROXY, &["::ffff:192.0.2.1"]), "192.0.2.1");
    assert_eq!(found(PROXY, &[" , 192.0.2.1 ,, "]), "192.0.2.1");
}

#[test]
fn what_is_no_address_ends_the_search_at_who_wrote_it() {
    assert_eq!(found(PROXY, &["192.0.2.1, unknown"]), PROXY);
    assert_eq!(found(PROXY, &["192.0.2.1, unknown, 10.5.5.5"]), "10.5.5.5");
    assert_eq!(found(PROXY, &["192.0.2.1, 10.5.5.5; DROP"]), PROXY);
}

proptest! {
    #[test]
    fn a_client_cannot_choose_its_address(forged in "[0-9a-f.:, ]{0,60}") {
        // Its own line comes first, the trusted proxy's after it.
        prop_assume!(HeaderValue::from_str(&forged).is_ok());
        prop_assert_eq!(found(PROXY, &[&forged, "203.0.113.9"]), "203.0.113.9");
    }
}

/// To be fuzzed: its corpus is replayed.
#[test]
fn fuzzed_lines_choose_no_address() {
    bolero::check!().for_each(|forged: &[u8]| {
        let Ok(forged) = HeaderValue::from_bytes(forged) else { return };
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, forged);
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let real = real(PROXY.parse().unwrap(), &trust(), &headers);
        assert_eq!(real.to_string(), "203.0.113.9");
    });
}
