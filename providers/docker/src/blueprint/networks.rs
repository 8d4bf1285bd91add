//! The networks of a container, and what it is called there.

use serde_json::{Map, Value, json};

use super::is_blank;
use crate::api::Version;

/// What somebody chose for a container in a network. The rest is the engine's choice.
const CHOSEN: [&str; 4] = ["DriverOpts", "GwPriority", "IPAMConfig", "Links"];

/// How the networks are joined.
pub(super) struct Plan {
    /// At the creation.
    pub(super) at_once: Map<String, Value>,
    /// After it, in this order.
    pub(super) later: Vec<(String, Value)>,
}

/// Plans for this container. Takes a configured MAC address out of `body` where the engine wants it
/// to stand with its network.
pub(super) fn plan(
    container: &Value,
    body: &mut Map<String, Value>,
    version: Version,
) -> Result<Plan, String> {
    let mode = container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let mut plan = Plan { at_once: Map::new(), later: Vec::new() };
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return Ok(plan);
    }
    let empty = Map::new();
    let networks = container["NetworkSettings"]["Networks"].as_object().unwrap_or(&empty);
    let mut joined: Vec<(&String, &Value)> = networks.iter().collect();
    // The one it was made in comes first; `sort_by_key` leaves the others in their order.
    joined.sort_by_key(|(name, network)| !is_first(mode, name, network));
    let mac = match version.joins_networks_at_once() {
        true => body.remove("MacAddress"),
        false => None,
    };
    for (place, (name, network)) in joined.iter().enumerate() {
        let mut settings = settings(container, name, network);
        if version.joins_networks_at_once() {
            let configured = match (&mac, place) {
                (Some(mac), 0) => Some(mac.clone()),
                _ => configured_mac(network),
            };
            settings.extend(configured.map(|mac| ("MacAddress".to_owned(), mac)));
        }
        if place == 0 || version.joins_networks_at_once() {
            plan.at_once.insert((*name).clone(), Value::Object(settings));
        } else {
            plan.later.push(((*name).clone(), Value::Object(settings)));
        }
    }
    match plan.at_once.is_empty() {
        // The engine would join it to one.
        true => Err("it was taken out of every network, and cannot be made like that; connect it \
                     to one first"
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
        // It knows neither names nor chosen addresses, and engines refuse them.
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
    // The engine adds id and host name by itself.
    let is_own = |alias: &Value| {
        alias == hostname || alias.as_str().is_some_and(|it| it.len() >= 12 && id.starts_with(it))
    };
    let aliases = network["Aliases"].as_array().into_iter().flatten();
    let aliases: Vec<&Value> = aliases.filter(|alias| !is_own(alias)).collect();
    choose("Aliases", &json!(aliases));
    settings
}

/// A MAC address that is not the one that engines make of the IPv4 address: that one would meet
/// another container with this address by and by.
fn configured_mac(network: &Value) -> Option<Value> {
    let mac = network["MacAddress"].as_str().filter(|mac| !mac.is_empty())?;
    let address = network["IPAddress"].as_str()?.parse::<std::net::Ipv4Addr>();
    let made = address.map(|address| {
        let [a, b, c, d] = address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    });
    (made.ok().as_deref() != Some(&mac.to_ascii_lowercase())).then(|| json!(mac))
}
