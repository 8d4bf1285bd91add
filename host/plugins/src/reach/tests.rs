use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::settings::{EndpointGrant, Limits, Transport};

fn settings(reach: Option<&[&str]>) -> ProviderSettings {
    let endpoint = |host: &str, port| EndpointGrant {
        transport: Transport::Http { host: host.to_owned(), port },
        base: String::new(),
        headers: Vec::new(),
        rules: None,
        token: None,
        timeout: std::time::Duration::from_secs(1),
    };
    ProviderSettings {
        name: "docker".to_owned().try_into().unwrap(),
        plugin: "docker".into(),
        settings: json!({ "host": "nas.lan", "deep": [{ "a": "box.lan:8081" }] }),
        endpoints: BTreeMap::from([
            ("engine".to_owned(), endpoint("127.0.0.1", 2375)),
            ("other".to_owned(), endpoint("nas.lan", 2376)),
        ]),
        commands: BTreeMap::new(),
        networks: BTreeMap::new(),
        reach: reach.map(|reach| reach.iter().map(|text| text.parse().unwrap()).collect()),
        limits: Limits::default(),
    }
}

fn check(reach: Option<&[&str]>, host: &str, port: Option<u16>) -> Result<(), String> {
    Border::new(&settings(reach), Arc::default()).check(host, port, r#"{"address":"pi.lan:80"}"#)
}

#[test]
fn private_networks_and_this_machine_are_near() {
    for host in [
        "10.1.2.3",
        "172.31.77.2",
        "192.168.1.1",
        "127.0.0.1",
        "::1",
        "[::1]",
        "fd12::1",
        "100.64.0.1",
        "::ffff:10.0.0.1",
    ] {
        assert_eq!(check(None, host, Some(80)), Ok(()), "{host}");
        assert_eq!(check(None, host, None), Ok(()), "{host}");
    }
    for host in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
        let refusal = check(None, host, Some(80)).unwrap_err();
        assert!(refusal.contains("add to [provider.docker]: reach = [\""), "{refusal}");
    }
}

#[test]
fn no_setting_opens_the_way_to_metadata_and_nowhere() {
    let all: &[&str] = &["0.0.0.0/0", "::/0", "169.254.169.254"];
    for host in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
    ] {
        for reach in [None, Some(all)] {
            let refusal = check(reach, host, Some(80)).unwrap_err();
            assert!(refusal.contains("no target"), "{refusal}");
        }
    }
}

#[test]
fn a_provider_s_own_endpoint_is_no_target() {
    let all: &[&str] = &["0.0.0.0/0", "::/0", "nas.lan", "localhost"];
    for host in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "localhost"] {
        let refusal = check(Some(all), host, Some(2375)).unwrap_err();
        assert!(refusal.contains("an endpoint of provider \"docker\""), "{host}: {refusal}");
        assert_eq!(check(Some(all), host, Some(2374)), Ok(()), "{host}");
    }
    assert!(
        check(None, "NAS.lan", Some(2376))
            .unwrap_err()
            .contains("an endpoint of provider \"docker\"")
    );
    assert_eq!(check(None, "nas.lan", Some(80)), Ok(()));
}

/// An address as a plugin tells it.
fn at(host: &str, port: u16) -> types::Address {
    let (host, port) = (host.to_owned(), Some(port));
    types::Address { host, port, target_port: None, attributes: Vec::new() }
}

/// The border of a provider with an endpoint that is configured by a name. To a resolver, without
/// any network, `127.1` leads to 127.0.0.1.
fn named(places: &Arc<Places>) -> Border {
    let mut settings = settings(Some(&["127.0.0.0/8", "10.0.0.0/8"]));
    let engine = settings.endpoints.get_mut("engine").unwrap();
    engine.transport = Transport::Http { host: "127.1".into(), port: 2375 };
    Border::new(&settings, places.clone())
}

async fn judged(border: &Border, host: &str, port: u16) -> Result<(), String> {
    border.look_up(&mut vec![at(host, port)]).await;
    border.check(host, Some(port), "{}")
}

#[tokio::test]
async fn an_endpoint_that_was_configured_by_a_name_is_no_target_by_its_address() {
    let border = named(&Arc::default());
    let refusal = judged(&border, "127.0.0.1", 2375).await.unwrap_err();
    assert!(refusal.contains("an endpoint of provider \"docker\""), "{refusal}");
    assert_eq!(judged(&border, "127.0.0.1", 2374).await, Ok(()));
    assert_eq!(judged(&border, "10.0.0.1", 2375).await, Ok(()));
}

#[tokio::test]
async fn an_endpoint_of_another_provider_is_no_target() {
    let places = Arc::default();
    let _docker = named(&places);
    let mut other = settings(None);
    other.name = "process".to_owned().try_into().unwrap();
    other.endpoints.clear();
    let other = Border::new(&other, places);
    let refusal = judged(&other, "127.0.0.1", 2375).await.unwrap_err();
    assert!(refusal.contains("an endpoint of provider \"docker\""), "{refusal}");
}

#[tokio::test]
async fn a_name_that_leads_to_metadata_is_refused_whoever_wrote_it() {
    // 169.254.169.254 to a resolver.
    let reach = "169.254.43518".to_owned();
    let mut settings = settings(None);
    settings.settings = json!({ "host": reach });
    let border = Border::new(&settings, Arc::default());
    let refusal = judged(&border, "169.254.43518", 80).await.unwrap_err();
    assert!(refusal.contains("clouds tell secrets there"), "{refusal}");
}

#[test]
fn a_name_is_followed_only_if_the_operator_wrote_it() {
    for host in ["nas.lan", "box.lan", "pi.lan", "Pi.Lan"] {
        assert_eq!(check(None, host, Some(80)), Ok(()), "{host}");
    }
    // Some of these are addresses to a resolver.
    for host in ["evil.example", "127.1", "2130706433", "0x7f000001", "localhost", "lan"] {
        assert!(check(None, host, Some(80)).is_err(), "{host}");
    }
    for host in ["", "a b", "a/b", "evil.example#nas.lan", "nas.lan:80", ".lan", "é.lan"] {
        let refusal = check(None, host, Some(80)).unwrap_err();
        assert!(refusal.contains("neither an address nor the name"), "{refusal}");
    }
}

#[test]
fn reach_replaces_what_is_near() {
    let reach: &[&str] = &["203.0.113.0/24", "10.0.0.1", ".example.org", "nas.lan"];
    for host in ["203.0.113.7", "10.0.0.1", "a.example.org", "b.a.EXAMPLE.org", "nas.lan"] {
        assert_eq!(check(Some(reach), host, None), Ok(()), "{host}");
    }
    for host in ["10.0.0.2", "127.0.0.1", "example.org", "badexample.org", "box.lan"] {
        let refusal = check(Some(reach), host, None).unwrap_err();
        assert!(refusal.contains("reach = [..., \""), "{refusal}");
    }
    assert!(check(Some(&[]), "10.0.0.1", None).is_err());
}

#[test]
fn what_is_neither_network_nor_name_is_refused() {
    for text in ["", "10.0.0.0/33", "300.1.1.1", "*", "a b", "10.0.0.0/8,::1", "..", "-?"] {
        assert!(text.parse::<Reach>().is_err(), "{text:?}");
    }
    let truncated: Reach = "10.1.2.3/8".parse().unwrap();
    assert_eq!(truncated, "10.0.0.0/8".parse().unwrap());
}

proptest! {
    #[test]
    fn whatever_passes_can_be_read_as_a_host(host in "\\PC{0,40}", port: Option<u16>) {
        let all: &[&str] = &["0.0.0.0/0", "::/0"];
        if check(Some(all), &host, port).is_ok() {
            prop_assert!(Host::parse(&host).is_some());
        }
    }

    #[test]
    fn link_local_never_passes(a: u8, b: u8, mapped: bool, port: Option<u16>) {
        let address = Ipv4Addr::new(169, 254, a, b);
        let host = if mapped { address.to_ipv6_mapped().to_string() } else { address.to_string() };
        prop_assert!(check(Some(&["0.0.0.0/0", "::/0"]), &host, port).is_err());
    }
}
