//! Recorded from Docker 20.10, without fields that have no part in it.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::subsequence,
};
use serde_json::Map;

use super::*;
use crate::{
    api::Version,
    create_request::{self, CreateRequest},
};

const FULL: &str = include_str!("../../fixtures/recreate/full.json");
const IMAGE: &str = include_str!("../../fixtures/recreate/image.json");

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn derived(container: &Value, minor: u32) -> CreateRequest {
    let names = create_request::namespace_owners(container)
        .into_iter()
        .map(|id| (id.to_owned(), "other".to_owned()));
    create_request::derive(container, &read(IMAGE), Version::of_docker(1, minor), &names.collect())
        .unwrap()
}

#[test]
fn configured_values_are_kept_and_image_values_left_out() {
    let container = read(FULL);
    let CreateRequest { mut body, join } = derived(&container, 41);
    let host = body.as_object_mut().unwrap().remove("HostConfig").unwrap();
    let expected = json!({
        "AttachStdin": false,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Image": "rich:1",
        "Hostname": "fullhost",
        "Domainname": "example.org",
        "User": "0",
        "WorkingDir": "/tmp",
        "Entrypoint": ["/bin/sleep"],
        "Cmd": ["1000"],
        "Env": ["MINE=1", "PATH=/bin:/sbin"],
        "ExposedPorts": { "80/tcp": {}, "8080/udp": {}, "9090/tcp": {} },
        "Labels": { "mine": "yes", "version": "2" },
        "Healthcheck": { "Interval": 5_000_000_000_u64 },
        "StopSignal": "SIGTERM",
        "StopTimeout": 3,
        "NetworkingConfig": { "EndpointsConfig": { "front": {
            "Aliases": ["full-front"],
            "IPAMConfig": { "IPv4Address": "10.214.100.7" },
        } } },
    });
    assert_eq!(body, expected);
    let back = json!({ "Aliases": ["full-back"], "IPAMConfig": { "IPv4Address": "10.214.101.9" } });
    assert_eq!(join, [("back".to_owned(), back)]);

    // `HostConfig` is unchanged, except that anonymous volumes are mounted by name.
    let mut was = container["HostConfig"].clone();
    was["Binds"] = json!([
        "named:/named",
        "/tmp:/host:ro",
        format!("{}:/cache", volume(&container, "/cache")),
        format!("{}:/anon", volume(&container, "/anon")),
        format!("{}:/data", volume(&container, "/data")),
    ]);
    was["Mounts"][0]["Source"] = json!(volume(&container, "/mnt-anon"));
    assert_eq!(host, was);
}

fn volume(container: &Value, place: &str) -> String {
    let mounts = container["Mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["Destination"] == place).unwrap();
    mount["Name"].as_str().unwrap().to_owned()
}

#[test]
fn an_engine_that_takes_all_networks_at_once_gets_them() {
    let CreateRequest { body, join } = derived(&read(FULL), 44);
    assert!(join.is_empty());
    assert_eq!(
        body["NetworkingConfig"]["EndpointsConfig"],
        json!({
            "front": {
                "Aliases": ["full-front"], "IPAMConfig": { "IPv4Address": "10.214.100.7" },
            },
            "back": { "Aliases": ["full-back"], "IPAMConfig": { "IPv4Address": "10.214.101.9" } },
        })
    );
}

#[test]
fn a_container_without_settings_needs_only_its_image_name() {
    let CreateRequest { mut body, .. } =
        derived(&read(include_str!("../../fixtures/recreate/defaults.json")), 41);
    let body = body.as_object_mut().unwrap();
    body.remove("HostConfig");
    body.retain(|key, value| !key.starts_with("Attach") && *value != json!(false));
    // The default network needs no settings.
    let networks = json!({ "EndpointsConfig": { "bridge": {} } });
    assert_eq!(
        Value::Object(body.clone()),
        json!({ "Image": "rich:1", "NetworkingConfig": networks })
    );
}

#[test]
fn only_a_configured_mac_address_is_kept() {
    let container = read(include_str!("../../fixtures/recreate/mac.json"));
    let mac = json!("02:00:00:00:00:07");
    let at = |minor| derived(&container, minor).body;
    assert_eq!(at(41)["MacAddress"], mac);
    assert_eq!(at(44)["MacAddress"], Value::Null);
    assert_eq!(at(44)["NetworkingConfig"]["EndpointsConfig"]["bridge"]["MacAddress"], mac);

    let mut full = read(FULL);
    let front = |full: &Value| {
        derived(full, 44).body["NetworkingConfig"]["EndpointsConfig"]["front"]["MacAddress"].clone()
    };
    assert_eq!(front(&full), Value::Null);
    full["NetworkSettings"]["Networks"]["front"]["MacAddress"] = json!("be:ef:00:00:00:01");
    assert_eq!(front(&full), "be:ef:00:00:00:01");
}

#[test]
fn a_container_in_another_containers_network_has_no_hostname_and_ports() {
    let container = read(include_str!("../../fixtures/recreate/sidecar.json"));
    let id = "01a7dd1d6687df484172b4082fecf5522ba68dc3b30b9f4d135b41b69eee2bfe";
    assert_eq!(create_request::namespace_owners(&container), [id]);
    let body = derived(&container, 41).body;
    assert_eq!(body["HostConfig"]["NetworkMode"], "container:other");
    assert_eq!(body["HostConfig"]["PidMode"], "container:other");
    for key in ["Hostname", "Domainname", "ExposedPorts", "MacAddress", "NetworkingConfig"] {
        assert_eq!(body[key], Value::Null, "{key}");
    }
    // A missing namespace_owner keeps its id.
    let version = Version::of_docker(1, 41);
    let body =
        create_request::derive(&container, &read(IMAGE), version, &BTreeMap::new()).unwrap().body;
    assert_eq!(body["HostConfig"]["NetworkMode"], format!("container:{id}"));
}

#[test]
fn host_namespaces_are_shared_without_the_host_name() {
    let body = derived(&read(include_str!("../../fixtures/recreate/sharing.json")), 44).body;
    assert_eq!((&body["Hostname"], &body["NetworkingConfig"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&body["HostConfig"]["NetworkMode"], &body["HostConfig"]["IpcMode"]),
        (&json!("host"), &json!("host"))
    );
}

#[test]
fn links_are_converted_to_the_requested_form() {
    let mut linked = read(include_str!("../../fixtures/recreate/linked.json"));
    assert_eq!(derived(&linked, 41).body["HostConfig"]["Links"], json!(["other:db"]));
    // The engine keeps linking to the container that was set aside, even when it is gone.
    linked["HostConfig"]["Links"] = json!(["/other.drowse-ran:/linked/db"]);
    assert_eq!(derived(&linked, 41).body["HostConfig"]["Links"], json!(["other:db"]));
}

#[test]
fn a_cleared_entry_point_stays_cleared() {
    let body = derived(&read(include_str!("../../fixtures/recreate/noentry.json")), 41).body;
    assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&json!([""]), &json!(["/bin/sleep", "1000"])));
}

#[test]
fn a_disabled_healthcheck_stays_disabled() {
    let body = derived(&read(include_str!("../../fixtures/recreate/nohealth.json")), 41).body;
    assert_eq!(body["Healthcheck"], json!({ "Test": ["NONE"] }));
}

#[test]
fn a_volume_mounted_by_name_is_not_mounted_twice() {
    let mut container = read(FULL);
    let first = derived(&container, 41).body;
    container["HostConfig"] = first["HostConfig"].clone();
    container["Config"]["Volumes"] = json!({ "/cache": {}, "/data": {} });
    assert_eq!(derived(&container, 41).body, first);
}

#[test]
fn a_container_in_no_network_is_refused() {
    let mut container = read(FULL);
    container["NetworkSettings"]["Networks"] = json!({});
    let version = Version::of_docker(1, 41);
    let why =
        create_request::derive(&container, &read(IMAGE), version, &BTreeMap::new()).unwrap_err();
    assert!(why.ends_with("connect it to one first"), "{why}");
}

// === properties over arbitrary configurations ===

/// Configurations of a container or an image, from these letters and numbers.
fn configuration(letters: &'static str, numbers: [u64; 2]) -> impl Strategy<Value = Value> {
    let each = move || letters.chars().map(String::from).collect::<Vec<_>>();
    let word = move || proptest::string::string_regex(&format!("[{letters}]")).unwrap();
    let words = move || vec(word(), 0..3);
    let maybe = move || option::of(word()).prop_map(Option::unwrap_or_default);
    let table = move || {
        subsequence(each(), 0..=letters.len())
            .prop_map(|keys| keys.into_iter().map(|key| (key, json!({}))).collect::<Map<_, _>>())
    };
    let named = move || btree_map("[MN]", word(), 0..3);
    let number = move || prop_oneof![Just(0), Just(numbers[0]), Just(numbers[1])];
    let check = (option::of(vec(word(), 1..3)), number(), number());
    ((words(), words(), maybe(), maybe(), maybe()), (table(), table(), named(), named(), check))
        .prop_map(|((entry, command, dir, user, signal), (ports, volumes, labels, env, check))| {
            let env: Vec<_> = env.into_iter().map(|(name, it)| format!("{name}={it}")).collect();
            let (test, interval, retries) = check;
            let check = json!({ "Test": test, "Interval": interval, "Retries": retries });
            json!({
                "Entrypoint": entry, "Cmd": command, "WorkingDir": dir, "User": user,
                "StopSignal": signal, "ExposedPorts": ports, "Volumes": volumes, "Labels": labels,
                "Env": env, "Healthcheck": check,
            })
        })
}

fn any() -> impl Strategy<Value = Value> {
    configuration("ab", [1, 2])
}

fn other() -> impl Strategy<Value = Value> {
    configuration("xy", [3, 4])
}

/// The container's configuration that Docker computes from the request and the image (`merge` in
/// its daemon).
fn merged(asked: &Value, image: &Value) -> Value {
    let mut own = asked.clone();
    let none =
        |value: &Value| matches!(value, Value::Null) || *value == json!("") || *value == json!([]);
    for key in ["User", "WorkingDir", "StopSignal"] {
        if none(&own[key]) {
            own[key] = image[key].clone();
        }
    }
    for key in ["ExposedPorts", "Volumes", "Labels"] {
        let mut table = image[key].as_object().cloned().unwrap_or_default();
        table.extend(own[key].as_object().cloned().unwrap_or_default());
        own[key] = Value::Object(table);
    }
    let name = |variable: &Value| variable.as_str().unwrap().split('=').next().unwrap().to_owned();
    let mut variables = own["Env"].as_array().cloned().unwrap_or_default();
    let set: Vec<String> = variables.iter().map(name).collect();
    let given = image["Env"].as_array().cloned().unwrap_or_default();
    variables.extend(given.into_iter().filter(|variable| !set.contains(&name(variable))));
    own["Env"] = json!(variables);
    if none(&own["Entrypoint"]) {
        if none(&own["Cmd"]) {
            own["Cmd"] = image["Cmd"].clone();
        }
        own["Entrypoint"] = image["Entrypoint"].clone();
    }
    if own["Entrypoint"] == json!([""]) {
        own["Entrypoint"] = json!([]);
    }
    for key in ["Test", "Interval", "Retries"] {
        let part = &own["Healthcheck"][key];
        if none(part) || *part == json!(0) {
            own["Healthcheck"][key] = image["Healthcheck"][key].clone();
        }
    }
    own
}

/// Normal form: sorted, and without values that mean nothing.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), plain(value)));
            let says =
                |value: &Value| ![json!(null), json!(""), json!([]), json!(0)].contains(value);
            // An empty table inside a table is significant: its key exists.
            Value::Object(entries.filter(|(_, value)| says(value)).collect())
        }
        Value::Array(items) if items.iter().all(|it| it.to_string().contains('=')) => {
            let mut items = items.clone();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        value => value.clone(),
    }
}

fn container(config: &Value) -> Value {
    json!({
        "Id": "0123456789abcdef", "Config": config, "HostConfig": { "NetworkMode": "none" },
    })
}

fn rederived(config: &Value, image: &Value) -> Value {
    let image = json!({ "Config": image });
    let version = Version::of_docker(1, 41);
    let mut body =
        create_request::derive(&container(config), &image, version, &BTreeMap::new()).unwrap().body;
    body.as_object_mut().unwrap().remove("HostConfig");
    body
}

proptest! {
    #[test]
    fn the_same_image_results_in_the_same_container(
        asked in any(), image in any(),
    ) {
        let container = merged(&asked, &image);
        let again = merged(&rederived(&container, &image), &image);
        prop_assert_eq!(plain(&again), plain(&container));
    }

    #[test]
    fn a_newer_image_replaces_only_values_that_were_not_set(
        asked in any(), image in other(), newer in other(),
    ) {
        let rederived = rederived(&merged(&asked, &image), &image);
        prop_assert_eq!(plain(&merged(&rederived, &newer)), plain(&merged(&asked, &newer)));
    }

    #[test]
    fn any_inspect_result_is_derived_or_refused(
        key in 0..64_usize, strange in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!("x:y:z")), Just(json!(-1)),
            Just(json!([1, null, {}])), Just(json!({ "a": [null] })), Just(json!(["::", ":", ""])),
        ],
    ) {
        let mut container = read(FULL);
        let mut image = read(IMAGE);
        let mut places = Vec::new();
        paths(&container, String::new(), &mut places);
        let place = &places[key * places.len() / 64];
        if let Some(value) = container.pointer_mut(place) {
            *value = strange.clone();
        }
        if let Some(value) = image.pointer_mut(place) {
            *value = strange;
        }
        for minor in [41, 44] {
            // An error is an accepted result, too.
            let _ = create_request::derive(&container, &image, Version::of_docker(1, minor), &BTreeMap::new());
        }
        create_request::namespace_owners(&container);
        create_request::anonymous_volumes(&container);
    }
}

/// JSON pointers of all values.
fn paths(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            paths(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into);
        }),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| paths(value, format!("{at}/{index}"), into));
        }
        _ => {}
    }
    into.push(at);
}
