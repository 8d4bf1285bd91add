//! Networks of a container, and its aliases there.

use serde_json::{Map, Value, json};

use super::is_blank;
use crate::api::Version;

/// Settings that an operator chooses for a container in a network. The engine chooses the rest.
const CHOSEN: [&str; 4] = ["DriverOpts", "GwPriority", "IPAMConfig", "Links"];

/// How a container joins its networks.
pub(super) struct Plan {
    /// Networks to join at creation.
    pub(super) at_creation: Map<String, Value>,
    /// Networks to join after creation, in this order.
    pub(super) after_creation: Vec<(String, Value)>,
}

/// Plans the networks of a container. Moves a configured MAC address from `body` to its network if
/// the engine expects it there.
pub(super) fn plan(
    container: &Value,
    body: &mut Map<String, Value>,
    version: Version,
) -> Result<Plan, String> {
    let mode = container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let mut plan = Plan { at_creation: Map::new(), after_creation: Vec::new() };
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return Ok(plan);
    }
    let empty = Map::new();
    let networks = container["NetworkSettings"]["Networks"].as_object().unwrap_or(&empty);
    let mut joined: Vec<(&String, &Value)> = networks.iter().collect();
    // The network of the creation comes first; `sort_by_key` keeps the order of the others.
    joined.sort_by_key(|(name, network)| !is_first(mode, name, network));
    let mac = match version.joins_networks_at_once() {
        true => body.remove("MacAddress"),
        false => None,
    };
    for (index, (name, network)) in joined.iter().enumerate() {
        let mut settings = settings(container, name, network);
        if version.joins_networks_at_once() {
            let configured = match (&mac, index) {
                (Some(mac), 0) => Some(mac.clone()),
                _ => configured_mac(network),
            };
            settings.extend(configured.map(|mac| ("MacAddress".to_owned(), mac)));
        }
        if index == 0 || version.joins_networks_at_once() {
            plan.at_creation.insert((*name).clone(), Value::Object(settings));
        } else {
            plan.after_creation.push(((*name).clone(), Value::Object(settings)));
        }
    }
    match plan.at_creation.is_empty() {
        // The engine would join the container to a default network.
        true => Err("it is in no network, and cannot be created like that; connect it to one \
                     first"
            .to_owned()),
        false => Ok(plan),
    }
}

fn is_first(mode: &str, name: &str, network: &Value) -> bool {
    let standard = matches!(mode, "" | "default");
    name == mode || network["NetworkID"] == mode && !mode.is_empty() || standard && name == "bridge"
}

fn settings(container: &Value, name: &str, network: &Value) -> Map<String, Value> {
    let mut settings = Map::new();
    let mut choose = |key: &str, value: &Value| {
        if !is_blank(value) && *value != json!(0) {
            settings.insert(key.to_owned(), value.clone());
        }
    };
    if name == "bridge" {
        // The default bridge supports neither aliases nor chosen addresses; engines refuse them.
        for key in ["DriverOpts", "GwPriority"] {
            choose(key, &network[key]);
        }
        return settings;
    }
    for key in CHOSEN {
        choose(key, &network[key]);
    }
    let id = container["Id"].as_str().unwrap_or_default();
    let hostname = &container["Config"]["Hostname"];
    // The engine adds id and host name itself.
    let is_generated = |alias: &Value| {
        alias == hostname || alias.as_str().is_some_and(|it| it.len() >= 12 && id.starts_with(it))
    };
    let aliases = network["Aliases"].as_array().into_iter().flatten();
    let aliases: Vec<&Value> = aliases.filter(|alias| !is_generated(alias)).collect();
    choose("Aliases", &json!(aliases));
    settings
}

/// A MAC address that the operator configured. Engines derive the default one from the IPv4
/// address, which another container may get after_creation.
fn configured_mac(network: &Value) -> Option<Value> {
    let mac = network["MacAddress"].as_str().filter(|mac| !mac.is_empty())?;
    let address = network["IPAddress"].as_str()?.parse::<std::net::Ipv4Addr>();
    let derived = address.map(|address| {
        let [a, b, c, d] = address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    });
    (derived.ok().as_deref() != Some(&mac.to_ascii_lowercase())).then(|| json!(mac))
}
