use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use std::net::{Ipv4Addr, Ipv6Addr};

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
    AddressPolicy::new(&settings(reach), Arc::default()).check(
        host,
        port,
        r#"{"address":"pi.lan:80"}"#,
    )
}

#[test]
fn private_networks_and_this_machine_are_allowed_by_default() {
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
        assert!(refusal.contains("add to [provider.docker]: allow-addresses = [\""), "{refusal}");
    }
}

/// Metadata services, from their clouds' documentation.
const METADATA: [&str; 18] = [
    "169.254.169.254",
    "169.254.169.252",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.10.10",
    "169.254.42.42",
    "168.63.129.16",
    "100.100.100.200",
    "100.96.0.96",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fe80::a9fe:a9fe",
];

#[test]
fn no_rule_allows_metadata_services() {
    for host in METADATA {
        let socket = match host.contains(':') {
            true => format!("[{host}]:80"),
            false => format!("{host}:80"),
        };
        let reach: &[&str] = &["0.0.0.0/0", "::/0", host, &socket];
        for reach in [None, Some(reach)] {
            let refusal = check(reach, host, Some(80)).unwrap_err();
            assert!(refusal.contains("which gives out secrets"), "{refusal}");
            assert!(check(reach, host, None).is_err(), "{host}");
        }
    }
}

/// Every form in which a network may carry packets for an IPv4 address.
fn forms_of(v4: Ipv4Addr) -> Vec<IpAddr> {
    let [a, b, c, d] = v4.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let v6 = |segments: [u16; 8]| IpAddr::V6(segments.into());
    vec![
        v4.into(),
        v4.to_ipv6_mapped().into(),
        v6([0, 0, 0, 0, 0xffff, 0, high, low]),
        v6([0x64, 0xff9b, 0, 0, 0, 0, high, low]),
        v6([0x64, 0xff9b, 1, 0, 0, 0, high, low]),
        v6([0x64, 0xff9b, 1, high, u16::from(c), u16::from(d) << 8, 0, 0]),
        v6([0x2002, high, low, 0, 0, 0, 0, 1]),
        v6([0x2001, 0, high, low, 0, 0, !0x0a00, !0x0009]),
        v6([0x2001, 0, 0, 0, 0, 0, !high, !low]),
        v6([0xfd12, 0, 0, 0, 0, 0x5efe, high, low]),
        v6([0xfd12, 0, 0, 0, 0x200, 0x5efe, high, low]),
    ]
}

#[test]
fn an_ipv4_address_embedded_in_ipv6_is_checked_as_ipv4() {
    let all: &[&str] = &["0.0.0.0/0", "::/0"];
    for form in forms_of(Ipv4Addr::new(169, 254, 169, 254)) {
        let refusal = check(Some(all), &form.to_string(), Some(80)).unwrap_err();
        assert!(refusal.contains("169.254.169.254 is the metadata service"), "{refusal}");
    }
    for form in forms_of(Ipv4Addr::LOCALHOST) {
        let refusal = check(Some(all), &form.to_string(), Some(2375)).unwrap_err();
        assert!(refusal.contains("an endpoint of provider \"docker\""), "{form}: {refusal}");
    }
}

#[test]
fn link_local_addresses_are_refused_unless_a_rule_names_them() {
    let all: &[&str] = &["0.0.0.0/0", "::/0"];
    for host in ["169.254.1.2", "fe80::1", "::ffff:169.254.1.2", "64:ff9b::169.254.1.2"] {
        for reach in [None, Some(all)] {
            let refusal = check(reach, host, Some(80)).unwrap_err();
            assert!(
                refusal.contains("is link-local, where clouds keep their metadata"),
                "{refusal}"
            );
            assert!(refusal.contains("add to [provider.docker]: allow-addresses = ["), "{refusal}");
        }
    }
    for reach in ["169.254.1.2", "169.254.1.0/24", "169.254.0.0/16", "169.254.1.2:80"] {
        assert_eq!(check(Some(&[reach]), "169.254.1.2", Some(80)), Ok(()), "{reach}");
        assert!(check(Some(&[reach]), "169.254.169.254", Some(80)).is_err(), "{reach}");
    }
    assert!(check(Some(&["169.0.0.0/8"]), "169.254.1.2", Some(80)).is_err());
}

#[test]
fn no_rule_allows_unspecified_broadcast_or_multicast_addresses() {
    let all: &[&str] = &["0.0.0.0/0", "::/0"];
    for host in ["0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "224.0.0.1", "ff02::1"] {
        for reach in [None, Some(all)] {
            let refusal = check(reach, host, Some(80)).unwrap_err();
            assert!(refusal.contains("no target"), "{refusal}");
        }
    }
}

#[test]
fn a_provider_s_own_endpoint_is_refused() {
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

/// The policy of a provider whose endpoint is configured by name. Resolvers parse `127.1` as
/// 127.0.0.1 without any network access.
fn policy_with_named_endpoint(endpoint_index: &Arc<EndpointIndex>) -> AddressPolicy {
    let mut settings = settings(Some(&["127.0.0.0/8", "10.0.0.0/8"]));
    let engine = settings.endpoints.get_mut("engine").unwrap();
    engine.transport = Transport::Http { host: "127.1".into(), port: 2375 };
    AddressPolicy::new(&settings, endpoint_index.clone())
}

async fn evaluated(address_policy: &AddressPolicy, host: &str, port: u16) -> Result<(), String> {
    address_policy.look_up(&mut vec![(host, Some(port))], |it| *it).await;
    address_policy.check(host, Some(port), "{}")
}

#[tokio::test]
async fn an_endpoint_configured_by_name_is_refused_by_its_address() {
    let address_policy = policy_with_named_endpoint(&Arc::default());
    let refusal = evaluated(&address_policy, "127.0.0.1", 2375).await.unwrap_err();
    assert!(refusal.contains("an endpoint of provider \"docker\""), "{refusal}");
    assert_eq!(evaluated(&address_policy, "127.0.0.1", 2374).await, Ok(()));
    assert_eq!(evaluated(&address_policy, "10.0.0.1", 2375).await, Ok(()));
}

#[tokio::test]
async fn an_endpoint_of_another_provider_is_refused() {
    let endpoint_index = Arc::default();
    let _docker = policy_with_named_endpoint(&endpoint_index);
    let mut other = settings(None);
    other.name = "process".to_owned().try_into().unwrap();
    other.endpoints.clear();
    let other = AddressPolicy::new(&other, endpoint_index);
    let refusal = evaluated(&other, "127.0.0.1", 2375).await.unwrap_err();
    assert!(refusal.contains("an endpoint of provider \"docker\""), "{refusal}");
}

#[tokio::test]
async fn a_name_that_resolves_to_metadata_is_refused_even_if_the_operator_wrote_it() {
    // Resolvers parse this as 169.254.169.254.
    let reach = "169.254.43518".to_owned();
    let mut settings = settings(None);
    settings.settings = json!({ "host": reach });
    let address_policy = AddressPolicy::new(&settings, Arc::default());
    let refusal = evaluated(&address_policy, "169.254.43518", 80).await.unwrap_err();
    assert!(refusal.contains("which gives out secrets"), "{refusal}");
}

/// Checks a connection to `address` for a reported host.
async fn dialled(address_policy: &AddressPolicy, host: &str, address: &str) -> Result<(), String> {
    address_policy.check_dial(host, address.parse().unwrap(), "{}").await
}

/// This machine has 10.0.0.5, 203.0.113.5 and 2001:db8::5 beside loopback.
fn own(address: IpAddr) -> bool {
    let others: [IpAddr; 3] = [
        Ipv4Addr::new(10, 0, 0, 5).into(),
        Ipv4Addr::new(203, 0, 113, 5).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5).into(),
    ];
    address.is_loopback() || others.contains(&address)
}

fn on_machine(reach: Option<&[&str]>) -> AddressPolicy {
    AddressPolicy::new(&settings(reach), Arc::new(EndpointIndex::on_machine(own)))
}

#[tokio::test]
async fn a_host_without_a_port_is_checked_with_the_port_of_the_connection() {
    let address_policy = on_machine(None);
    assert_eq!(
        address_policy.check("127.0.0.1", None, "{}"),
        Ok(()),
        "the route's port is not known yet"
    );
    assert_eq!(dialled(&address_policy, "127.0.0.1", "127.0.0.1:80").await, Ok(()));
    for (host, address) in [
        ("127.0.0.1", "127.0.0.1:2375"),
        ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:2375"),
        ("127.0.0.9", "127.0.0.9:2375"),
        ("::1", "[::1]:2375"),
        ("10.0.0.5", "10.0.0.5:2375"),
        ("nas.lan", "127.0.0.1:2375"),
    ] {
        let refusal = dialled(&address_policy, host, address).await.unwrap_err();
        assert!(refusal.starts_with("provider \"docker\": a connection to "), "{refusal}");
        assert!(refusal.contains("an endpoint of provider \"docker\""), "{refusal}");
    }
}

#[tokio::test]
async fn an_endpoint_on_this_machine_is_refused_at_every_local_address() {
    let all: &[&str] = &["0.0.0.0/0", "::/0"];
    for endpoint in ["127.0.0.1", "10.0.0.5", "::1", "203.0.113.5"] {
        let mut settings = settings(Some(all));
        let engine = settings.endpoints.get_mut("engine").unwrap();
        engine.transport = Transport::Http { host: endpoint.into(), port: 2375 };
        let address_policy =
            AddressPolicy::new(&settings, Arc::new(EndpointIndex::on_machine(own)));
        for host in ["127.0.0.1", "10.0.0.5", "::ffff:10.0.0.5", "203.0.113.5", "2001:db8::5"] {
            let refusal = address_policy.check(host, Some(2375), "{}").unwrap_err();
            assert!(refusal.contains("an endpoint of provider"), "{endpoint} {host}: {refusal}");
        }
        // A container behind a bridge of this machine.
        assert_eq!(address_policy.check("172.17.0.2", Some(2375), "{}"), Ok(()));
    }
}

#[tokio::test]
async fn only_a_rule_for_the_exact_socket_allows_an_endpoint_as_target() {
    let reach: &[&str] = &["127.0.0.0/8", "127.0.0.1:2375"];
    let address_policy = on_machine(Some(reach));
    assert_eq!(address_policy.check("127.0.0.1", Some(2375), "{}"), Ok(()));
    assert_eq!(dialled(&address_policy, "127.0.0.1", "127.0.0.1:2375").await, Ok(()));
    assert!(dialled(&address_policy, "127.0.0.2", "127.0.0.2:2375").await.is_err());
    assert!(
        dialled(&on_machine(Some(&["127.0.0.1"])), "127.0.0.1", "127.0.0.1:2375").await.is_err()
    );
    let socket_alone = on_machine(Some(&["10.0.0.9:8080"]));
    assert_eq!(dialled(&socket_alone, "10.0.0.9", "10.0.0.9:8080").await, Ok(()));
    assert!(dialled(&socket_alone, "10.0.0.9", "10.0.0.9:8081").await.is_err());
}

#[tokio::test]
async fn no_rule_allows_the_router_s_own_listeners() {
    let reach: &[&str] = &["0.0.0.0/0", "::/0", "127.0.0.1:8080", "10.0.0.5:8080", "[::1]:8080"];
    let evaluated = async |listener: &str, address: &str| {
        let address_policy = on_machine(Some(reach));
        address_policy.endpoint_index.set_listeners(vec![listener.parse().unwrap()]);
        let host = address.parse::<SocketAddr>().unwrap().ip().to_string();
        dialled(&address_policy, &host, address).await
    };
    for (listener, address) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "10.0.0.5:8080"),
        ("0.0.0.0:8080", "[::ffff:10.0.0.5]:8080"),
        ("[::]:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[2001:db8::5]:8080"),
        ("10.0.0.5:8080", "10.0.0.5:8080"),
        ("[::ffff:10.0.0.5]:8080", "10.0.0.5:8080"),
        ("203.0.113.5:8080", "203.0.113.5:8080"),
    ] {
        let refusal = evaluated(listener, address).await.unwrap_err();
        assert!(
            refusal.contains("the router itself listens at"),
            "{listener} {address}: {refusal}"
        );
    }
    // Sockets that are not the router's.
    for (listener, address) in [
        ("0.0.0.0:8080", "127.0.0.1:8081"),
        ("0.0.0.0:8080", "10.0.0.9:8080"),
        ("203.0.113.5:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "[::1]:8080"),
    ] {
        assert_eq!(evaluated(listener, address).await, Ok(()), "{listener} {address}");
    }
}

#[tokio::test]
async fn a_network_rule_does_not_allow_this_machine_s_address_in_it() {
    let lan = on_machine(Some(&["10.0.0.0/8", "nas.lan"]));
    assert_eq!(dialled(&lan, "10.0.0.9", "10.0.0.9:80").await, Ok(()));
    for (host, address) in [("10.0.0.5", "10.0.0.5:80"), ("nas.lan", "127.0.0.1:80")] {
        let refusal = dialled(&lan, host, address).await.unwrap_err();
        assert!(
            refusal.contains("is this machine: add to [provider.docker]: allow-addresses ="),
            "{refusal}"
        );
    }
    for reach in [["10.0.0.0/8", "10.0.0.5"], ["10.0.0.0/8", "127.0.0.0/8"]] {
        assert_eq!(dialled(&on_machine(Some(&reach)), "10.0.0.5", "10.0.0.5:80").await, Ok(()));
    }
    let localhost = on_machine(Some(&["localhost"]));
    assert_eq!(dialled(&localhost, "localhost", "127.0.0.1:80").await, Ok(()));
    assert_eq!(dialled(&on_machine(None), "10.0.0.5", "10.0.0.5:80").await, Ok(()));
}

#[tokio::test]
async fn a_name_is_checked_by_its_address_when_the_connection_is_made() {
    let address_policy = on_machine(None);
    assert_eq!(
        dialled(&address_policy, "nas.lan", "192.0.2.7:80").await,
        Ok(()),
        "the operator wrote it"
    );
    for (address, words) in [
        ("169.254.169.254:80", "which gives out secrets"),
        ("[::ffff:169.254.169.254]:80", "which gives out secrets"),
        ("127.0.0.1:2375", "an endpoint of provider"),
        ("169.254.7.7:80", "is link-local"),
        ("127.0.0.1:80", "127.0.0.1 is this machine: add to [provider.docker]: allow-addresses ="),
        ("[::1]:80", "::1 is this machine"),
        ("[64:ff9b::127.0.0.1]:80", "is this machine"),
    ] {
        let refusal = dialled(&address_policy, "nas.lan", address).await.unwrap_err();
        assert!(refusal.contains(words) && refusal.contains("nas.lan:"), "{refusal}");
    }
    assert!(dialled(&address_policy, "evil.example", "10.0.0.1:80").await.is_err());
    assert!(dialled(&address_policy, "a b", "10.0.0.1:80").await.is_err());
    assert_eq!(
        dialled(&address_policy, "nas.lan", "10.0.0.5:80").await,
        Ok(()),
        "in the machine's own network"
    );
    let mut settings = settings(None);
    settings.settings = json!({ "host": "localhost" });
    let address_policy = AddressPolicy::new(&settings, Arc::new(EndpointIndex::on_machine(own)));
    assert_eq!(dialled(&address_policy, "localhost", "127.0.0.1:80").await, Ok(()));
}

#[test]
fn a_name_is_allowed_only_if_the_operator_wrote_it() {
    for host in ["nas.lan", "box.lan", "pi.lan", "Pi.Lan"] {
        assert_eq!(check(None, host, Some(80)), Ok(()), "{host}");
    }
    // Resolvers parse some of these as addresses.
    for host in ["evil.example", "127.1", "2130706433", "0x7f000001", "localhost", "lan"] {
        assert!(check(None, host, Some(80)).is_err(), "{host}");
    }
    for host in ["", "a b", "a/b", "evil.example#nas.lan", "nas.lan:80", ".lan", "é.lan"] {
        let refusal = check(None, host, Some(80)).unwrap_err();
        assert!(refusal.contains("neither an address nor a host name"), "{refusal}");
    }
}

#[test]
fn rules_replace_the_default() {
    let reach: &[&str] = &["203.0.113.0/24", "10.0.0.1", ".example.org", "nas.lan"];
    for host in ["203.0.113.7", "10.0.0.1", "a.example.org", "b.a.EXAMPLE.org", "nas.lan"] {
        assert_eq!(check(Some(reach), host, None), Ok(()), "{host}");
    }
    for host in ["10.0.0.2", "127.0.0.1", "example.org", "badexample.org", "box.lan"] {
        let refusal = check(Some(reach), host, None).unwrap_err();
        assert!(refusal.contains("allow-addresses = [..., \""), "{refusal}");
    }
    assert!(check(Some(&[]), "10.0.0.1", None).is_err());
}

#[test]
fn text_that_is_not_an_address_rule_is_refused() {
    for text in
        ["", "10.0.0.0/33", "300.1.1.1", "*", "a b", "10.0.0.0/8,::1", "..", "-?", "1.2.3.4:x"]
    {
        assert!(text.parse::<AddressRule>().is_err(), "{text:?}");
    }
    let truncated: AddressRule = "10.1.2.3/8".parse().unwrap();
    assert_eq!(truncated, "10.0.0.0/8".parse().unwrap());
}

proptest! {
    #[test]
    fn allowed_hosts_can_be_parsed(host in "\\PC{0,40}", port: Option<u16>) {
        let all: &[&str] = &["0.0.0.0/0", "::/0"];
        if check(Some(all), &host, port).is_ok() {
            prop_assert!(Host::parse(&host).is_some());
        }
    }

    /// For any reported host and any lookup result, in every form of an address.
    #[test]
    fn a_metadata_service_is_never_connected_to(n in 0..METADATA.len(), form in 0..11_usize, port: u16) {
        let address: IpAddr = METADATA[n].parse().unwrap();
        let address = match address {
            IpAddr::V4(v4) => forms_of(v4)[form],
            v6 => v6,
        };
        let address_policy = on_machine(Some(&["0.0.0.0/0", "::/0", "nas.lan"]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = SocketAddr::new(address, port);
        for host in [address.to_string(), "nas.lan".to_owned()] {
            let evaluated = runtime.block_on(address_policy.check_dial(&host, socket, "{}"));
            prop_assert!(evaluated.is_err());
        }
    }

    /// In no form, and on no address of the machine.
    #[test]
    fn an_endpoint_is_never_connected_to(bits: u32, n in 0..4_usize, form in 0..11_usize) {
        let machine = [Ipv4Addr::from_bits(0x7f00_0000 | (bits >> 8)), Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(203, 0, 113, 5)];
        let socket = SocketAddr::new(forms_of(machine[n])[form], 2375);
        let address_policy = on_machine(Some(&["0.0.0.0/0", "::/0"]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = socket.ip().to_string();
        let evaluated = runtime.block_on(address_policy.check_dial(&host, socket, "{}"));
        prop_assert!(evaluated.is_err());
    }

    #[test]
    fn link_local_never_passes(a: u8, b: u8, mapped: bool, port: Option<u16>) {
        let address = Ipv4Addr::new(169, 254, a, b);
        let host = if mapped { address.to_ipv6_mapped().to_string() } else { address.to_string() };
        prop_assert!(check(Some(&["0.0.0.0/0", "::/0"]), &host, port).is_err());
    }
}
