use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";

fn trust() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
}

fn client(peer: &str, lines: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
    }
    client_address(peer.parse().unwrap(), &trust(), &headers).to_string()
}

#[test]
fn an_untrusted_peer_is_the_client() {
    assert_eq!(client("203.0.113.9", &["192.0.2.1"]), "203.0.113.9");
    assert_eq!(client("203.0.113.9", &[]), "203.0.113.9");
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_a_trusted_proxys() {
    assert_eq!(client(PROXY, &["192.0.2.1"]), "192.0.2.1");
    assert_eq!(client(PROXY, &["1.1.1.1, 192.0.2.1, 10.2.3.4"]), "192.0.2.1");
    assert_eq!(client(PROXY, &["1.1.1.1", "192.0.2.1", "10.2.3.4, fd00::1"]), "192.0.2.1");
    assert_eq!(client(PROXY, &["10.9.9.9, 10.8.8.8"]), "10.9.9.9");
    assert_eq!(client(PROXY, &[]), PROXY);
}

#[test]
fn addresses_may_have_brackets_and_a_port() {
    assert_eq!(client(PROXY, &["192.0.2.1:4711"]), "192.0.2.1");
    assert_eq!(client(PROXY, &["[2001:db8::1]:4711"]), "2001:db8::1");
    assert_eq!(client(PROXY, &["[2001:db8::1]"]), "2001:db8::1");
    assert_eq!(client(PROXY, &["::ffff:192.0.2.1"]), "192.0.2.1");
    assert_eq!(client(PROXY, &[" , 192.0.2.1 ,, "]), "192.0.2.1");
}

#[test]
fn a_malformed_entry_ends_the_search_at_the_proxy_that_wrote_it() {
    assert_eq!(client(PROXY, &["192.0.2.1, unknown"]), PROXY);
    assert_eq!(client(PROXY, &["192.0.2.1, unknown, 10.5.5.5"]), "10.5.5.5");
    assert_eq!(client(PROXY, &["192.0.2.1, 10.5.5.5; DROP"]), PROXY);
}

proptest! {
    #[test]
    fn a_client_cannot_choose_its_address(forged in "[0-9a-f.:, ]{0,60}") {
        // The client's own line comes before the trusted proxy's.
        prop_assume!(HeaderValue::from_str(&forged).is_ok());
        prop_assert_eq!(client(PROXY, &[&forged, "203.0.113.9"]), "203.0.113.9");
    }
}

/// Fuzz target; `cargo test` replays its corpus.
#[test]
fn fuzzed_forwarded_for_lines_never_choose_the_client_address() {
    bolero::check!().for_each(|forged: &[u8]| {
        let Ok(forged) = HeaderValue::from_bytes(forged) else { return };
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, forged);
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let client = client_address(PROXY.parse().unwrap(), &trust(), &headers);
        assert_eq!(client.to_string(), "203.0.113.9");
    });
}
