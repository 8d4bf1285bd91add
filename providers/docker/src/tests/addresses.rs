use drowse_provider_sdk::Address;

use super::*;

/// Host, port and target port of each address of the recorded container.
fn addresses(settings: Value, target: Value, reply: Reply) -> Vec<String> {
    let test = engine("1.41", settings);
    test.expect("engine", INSPECT_WEB, reply);
    test.status(("web", target)).unwrap().addresses.iter().map(text).collect()
}

fn text(address: &Address) -> String {
    match (address.port, address.target_port) {
        (Some(port), Some(inner)) => format!("{}:{port}>{inner}", address.host),
        (None, None) => address.host.clone(),
        odd => panic!("{odd:?}"),
    }
}

#[test]
fn auto_lists_container_addresses_before_published_ports() {
    assert_eq!(
        addresses(json!({}), json!({}), recorded(RUNNING)),
        ["172.31.77.2", "172.31.78.2", "127.0.0.1:32768>80", "::1:32768>80", "127.0.0.1:18099>81"]
    );
}

#[test]
fn container_and_published_exclude_each_other() {
    let container = json!({ "address": "container" });
    assert_eq!(addresses(container, json!({}), recorded(RUNNING)), ["172.31.77.2", "172.31.78.2"]);
    let published = json!({ "address": "published" });
    assert_eq!(
        addresses(published.clone(), json!({}), recorded(RUNNING)),
        ["127.0.0.1:32768>80", "::1:32768>80", "127.0.0.1:18099>81"]
    );
    // The target's setting overrides the provider's.
    assert_eq!(
        addresses(
            published,
            json!({ "address": "container", "network": "net2" }),
            recorded(RUNNING)
        ),
        ["172.31.78.2", "172.31.77.2"]
    );
}

#[test]
fn a_preferred_network_comes_first_and_each_address_names_its_network() {
    let test = engine("1.41", json!({ "network": "net2" }));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let seen = test.status("web").unwrap();
    assert_eq!(seen.addresses[0].host, "172.31.78.2");
    assert_eq!(seen.addresses[0].attributes[0].value, "net2");
    assert_eq!(seen.addresses[1].host, "172.31.77.2");
}

#[test]
fn a_configured_host_replaces_only_wildcard_bindings() {
    let settings = json!({ "address": "published", "host": "10.0.0.7" });
    assert_eq!(
        addresses(settings, json!({}), recorded(RUNNING)),
        ["10.0.0.7:32768>80", "127.0.0.1:18099>81"]
    );
}

#[test]
fn invalid_bindings_are_ignored() {
    let ports = json!({
        "53/udp": [{ "HostIp": "0.0.0.0", "HostPort": "5353" }],
        "80/tcp": [{ "HostIp": "", "HostPort": "8080" }],
        "81/tcp": null,
        "82/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "" }],
        "83/sctp": [{ "HostIp": "0.0.0.0", "HostPort": "8083" }],
        "84/tcp": [{ "HostIp": "192.168.1.5", "HostPort": "8084" }],
        "85/tcp": [{ "HostIp": "::", "HostPort": "8085" }],
    });
    let reply = changed(RUNNING, "/NetworkSettings/Ports", ports);
    assert_eq!(
        addresses(json!({ "address": "published" }), json!({}), reply),
        ["127.0.0.1:8080>80", "192.168.1.5:8084>84", "::1:8085>85", "127.0.0.1:5353>53"]
    );
}

#[test]
fn a_container_in_the_host_network_has_the_hosts_address() {
    for kind in ["auto", "container", "published"] {
        let test = engine("1.41", json!({ "address": kind }));
        let host = include_str!("../../fixtures/host.json");
        test.expect("engine", "GET /v1.41/containers/host/json", recorded(host));
        let seen = test.status("host").unwrap();
        assert_eq!(seen.addresses.iter().map(text).collect::<Vec<_>>(), ["127.0.0.1"]);
    }
}

#[test]
fn a_container_in_another_containers_network_has_its_addresses() {
    let side = include_str!("../../fixtures/side.json");
    let test = engine("1.41", json!({ "address": "container" }));
    let other = format!("GET /v1.41/containers/{WEB_ID}/json");
    test.expect("engine", "GET /v1.41/containers/side/json", recorded(side));
    test.expect("engine", &other, recorded(RUNNING));
    let seen = test.status("side").unwrap();
    assert_eq!(seen.addresses[0].host, "172.31.77.2");

    test.expect("engine", "GET /v1.41/containers/side/json", recorded(side));
    test.expect("engine", &other, recorded(EXITED));
    assert!(test.status("side").unwrap().addresses.is_empty());
}

#[test]
fn newer_engines_without_the_old_top_level_fields_are_read() {
    let mut body: Value = serde_json::from_str(RUNNING).unwrap();
    body["NetworkSettings"].as_object_mut().unwrap().remove("IPAddress");
    body["NetworkSettings"]["Networks"]["net1"]["Aliases"] = Value::Null;
    body["Config"]["Labels"] = Value::Null;
    assert_eq!(addresses(json!({ "address": "container" }), json!({}), Reply::json(body)).len(), 2);
}

#[test]
fn ipv6_addresses_of_a_network_are_listed() {
    let reply =
        changed(RUNNING, "/NetworkSettings/Networks/net1/GlobalIPv6Address", json!("fd00::2"));
    assert_eq!(
        addresses(json!({ "address": "container" }), json!({}), reply),
        ["172.31.77.2", "fd00::2", "172.31.78.2"]
    );
}
