//! Addresses of guests.

use std::net::IpAddr;

use drowse_provider_sdk::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::{
    address::{Interface, choose},
    config::Config,
    handle::Kind,
};

fn hosts(settings: Value, configured: Value, interfaces: Reply) -> Vec<String> {
    let test = set_up(settings);
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), data(configured));
    test.expect("api", &format!("GET {LXC}/interfaces"), interfaces);
    let seen = test.status("100").unwrap();
    seen.addresses.into_iter().map(|address| address.host).collect()
}

fn card(mac: &str) -> Value {
    json!({ "net0": format!("name=eth0,hwaddr={mac},ip=dhcp") })
}

#[test]
fn only_the_guests_own_cards_count_ipv4_first() {
    let interfaces = data(json!([
        { "name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8" },
        { "name": "docker0", "hwaddr": "02:42:00:00:00:01", "inet": "172.17.0.1/16" },
        { "name": "eth0", "hwaddr": MAC.to_lowercase(), "inet6": "fe80::1/64", "inet": "10.0.0.5/24",
          "hardware-address": MAC.to_lowercase(), "ip-addresses": [
            { "ip-address": "fd00::5", "ip-address-type": "inet6", "prefix": 64 },
            { "ip-address": "fe80::1", "ip-address-type": "inet6", "prefix": 64 },
            { "ip-address-type": "inet" },
            { "ip-address": "10.0.0.5", "ip-address-type": "inet", "prefix": 24 },
            { "ip-address": "10.0.1.5", "ip-address-type": "inet", "prefix": 24 },
        ] },
    ]));
    assert_eq!(hosts(json!({}), card(MAC), interfaces), ["10.0.0.5", "10.0.1.5", "fd00::5"]);
}

#[test]
fn without_known_cards_virtual_interfaces_are_recognised_by_name() {
    let interfaces = data(json!([
        { "name": "docker0", "hwaddr": "02:42:00:00:00:01", "inet": "172.17.0.1/16" },
        { "name": "veth12", "hwaddr": "02:42:00:00:00:02", "inet": "172.18.0.1/16" },
        { "name": "eth0", "hwaddr": "02:42:00:00:00:03", "inet": "10.0.0.5/24" },
    ]));
    assert_eq!(hosts(json!({}), json!({}), interfaces), ["10.0.0.5"]);
}

#[test]
fn configured_networks_select_addresses() {
    let interfaces = || {
        data(json!([
            { "name": "eth0", "hwaddr": MAC.to_lowercase(), "inet": "10.0.0.5/24" },
            { "name": "wg0", "inet": "10.8.0.5/24" },
        ]))
    };
    let settings = json!({ "networks": ["10.8.0.0/16"] });
    assert_eq!(hosts(settings, card(MAC), interfaces()), ["10.8.0.5"]);
    let test = set_up(json!({ "networks": ["10.8.0.0/16"] }));
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), data(card(MAC)));
    test.expect("api", &format!("GET {LXC}/interfaces"), interfaces());
    let seen = test.status(("100", json!({ "networks": ["10.0.0.0/24"] }))).unwrap();
    assert_eq!(seen.addresses[0].host, "10.0.0.5");
}

#[test]
fn loopback_addresses_of_a_guest_are_ignored() {
    let interfaces = data(json!([
        { "name": "eth0", "hwaddr": MAC.to_lowercase(), "inet": "127.0.0.1/8", "inet6": "::ffff:127.0.0.1/128" },
    ]));
    assert!(hosts(json!({}), card(MAC), interfaces).is_empty());
}

#[test]
fn configured_addresses_are_used_if_none_is_reported() {
    let configured = json!({
        "net1": "name=eth1,hwaddr=BC:24:11:00:00:02,ip=10.0.1.5/24",
        "net0": "name=eth0,hwaddr=BC:24:11:00:00:01,ip=10.0.0.5/24,gw=10.0.0.1,ip6=auto",
        "net10": "name=eth10,ip=manual",
    });
    let older = old_error(501, "Method 'GET /nodes/pve1/lxc/100/interfaces' not implemented");
    assert_eq!(hosts(json!({}), configured, older), ["10.0.0.5", "10.0.1.5"]);
    let cloud = json!({ "agent": "enabled=1", "ipconfig0": "ip=10.0.0.6/24,gw=10.0.0.1" });
    let test = proxmox();
    expect_machine_status(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), data(cloud));
    let path = format!("GET {QEMU}/agent/network-get-interfaces");
    test.expect("api", &path, old_error(500, "QEMU guest agent is not running"));
    assert_eq!(test.status("101").unwrap().addresses[0].host, "10.0.0.6");
}

#[test]
fn a_guest_without_an_address_has_the_reason() {
    let test = proxmox();
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    let older = old_error(501, "Method 'GET /nodes/pve1/lxc/100/interfaces' not implemented");
    test.expect("api", &format!("GET {LXC}/interfaces"), older);
    let detail = test.status("100").unwrap().detail.unwrap();
    assert!(detail.contains("not implemented"), "{detail}");
}

#[test]
fn an_invalid_address_or_network_is_refused() {
    let test = Harness::<Proxmox>::with_settings(json!({ "networks": ["10.0.0.0"] }));
    let error = test.configure().unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().contains("\"10.0.0.0\" is not a network such as"), "{error}");
    let test = Harness::<Proxmox>::new();
    for settings in [json!({ "address": "a b" }), json!({ "networks": ["x"] })] {
        let error = test.status(("100", settings)).unwrap_err();
        assert!(error.message().starts_with("settings of target \"100\""), "{error}");
    }
}

#[test]
fn the_agent_setting_is_parsed() {
    let expected =
        |agent: Value| Config::new(Kind::Qemu, [("agent".to_owned(), agent)].into()).has_agent();
    for yes in [json!(1), json!("1"), json!("enabled=1,type=isa"), json!("on,type=virtio")] {
        assert!(expected(yes.clone()), "{yes}");
    }
    for no in [json!(0), json!("0"), json!("enabled=0,type=isa"), json!("fstrim_cloned_disks=1")] {
        assert!(!expected(no.clone()), "{no}");
    }
}

proptest! {
    #[test]
    fn any_configuration_is_parsed(text in "\\PC{0,80}") {
        let values = [("net0".to_owned(), json!(text)), ("ipconfig0".to_owned(), json!(text))];
        for kind in [Kind::Lxc, Kind::Qemu] {
            let config = Config::new(kind, values.clone().into());
            for mac in config.macs() {
                prop_assert_eq!(mac.len(), 17);
            }
            prop_assert!(config.addresses().len() <= 2);
        }
    }

    #[test]
    fn only_usable_addresses_are_chosen(ips in proptest::collection::vec(any::<IpAddr>(), 0..8)) {
        let it = Interface { name: "eth0".to_owned(), mac: None, ips: ips.clone() };
        for ip in choose(&[it], &[], None) {
            prop_assert!(ips.contains(&ip));
            prop_assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
        }
    }
}
