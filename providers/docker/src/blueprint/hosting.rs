//! How the engine hosts the container: volumes, namespaces, links.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{is_anonymous, is_blank};
use crate::recreate::ASIDE;

/// What may be another container's.
pub(super) const SHARED: [&str; 3] = ["IpcMode", "NetworkMode", "PidMode"];

/// What a container cannot have that lives in another's network.
const OF_A_NETWORK: [&str; 4] = ["Domainname", "ExposedPorts", "Hostname", "MacAddress"];

/// Mounts the volumes by name that the engine made for the old container, in the same places.
/// Otherwise it would make new ones, which are empty.
pub(super) fn keep_volumes(
    host: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    mounts: &[Value],
) {
    for mount in mounts.iter().filter(|mount| is_anonymous(mount)) {
        let place = &mount["Destination"];
        let (Some(name), Some(path)) = (mount["Name"].as_str(), place.as_str()) else { continue };
        let asked = host.get_mut("Mounts").and_then(Value::as_array_mut);
        let mut asked = asked.into_iter().flatten();
        // One place is mounted once: what was asked for here gets its name.
        if let Some(asked) = asked.find(|asked| asked["Target"] == *place) {
            asked["Source"] = json!(name);
            continue;
        }
        let read_only = if mount["RW"] == false { ":ro" } else { "" };
        let bind = format!("{name}:{path}{read_only}");
        match host.get_mut("Binds") {
            // It is there by this name since an earlier recreation.
            Some(Value::Array(binds)) if binds.iter().any(|bind| mounts_at(bind, path)) => {}
            Some(Value::Array(binds)) => binds.push(json!(bind)),
            _ => {
                host.insert("Binds".to_owned(), json!([bind]));
            }
        }
        if let Some(Value::Object(volumes)) = config.get_mut("Volumes") {
            volumes.remove(path);
        }
    }
    if config.get("Volumes").is_some_and(is_blank) {
        config.remove("Volumes");
    }
}

/// `SOURCE:PLACE` or `SOURCE:PLACE:OPTIONS`
fn mounts_at(bind: &Value, place: &str) -> bool {
    bind.as_str().and_then(|bind| bind.split(':').nth(1)) == Some(place)
}

/// Turns what the engine tells into what it takes.
pub(super) fn mend(
    host: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    names: &BTreeMap<String, String>,
) {
    for key in SHARED {
        let Some(Value::String(mode)) = host.get_mut(key) else { continue };
        // An id dies with its container, a name lives on.
        let named = mode.strip_prefix("container:").and_then(|id| names.get(id));
        if let Some(name) = named {
            *mode = format!("container:{name}");
        }
    }
    // Podman tells the kernel's names: `RLIMIT_NOFILE` is `nofile`.
    for limit in host.get_mut("Ulimits").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(name) = limit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")) {
            limit["Name"] = json!(name.to_ascii_lowercase());
        }
    }
    if let Some(Value::Array(links)) = host.get_mut("Links") {
        for link in links {
            if let Some(asked) = link.as_str().and_then(as_asked) {
                *link = json!(asked);
            }
        }
    }
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default();
    if mode.starts_with("container:") {
        for key in OF_A_NETWORK {
            config.remove(key);
        }
        for key in ["PortBindings", "PublishAllPorts"] {
            host.remove(key);
        }
    }
    // A port is published only if it is exposed, also when a newer image does not say so.
    if let Some(Value::Object(published)) = host.get("PortBindings").filter(|it| !is_blank(it)) {
        let exposed = config.entry("ExposedPorts").or_insert_with(|| json!({}));
        if let Value::Object(exposed) = exposed {
            exposed.extend(published.keys().map(|port| (port.clone(), json!({}))));
        }
    }
    if host.get("UTSMode").and_then(Value::as_str) == Some("host") {
        // The machine's own.
        config.remove("Hostname");
        config.remove("Domainname");
    }
}

/// `/db:/web/alias` as `db:alias`.
fn as_asked(link: &str) -> Option<String> {
    let (other, alias) = link.split_once(':')?;
    let other = other.strip_prefix('/').unwrap_or(other);
    // The other was made anew meanwhile: the engine goes on to link to the old one.
    let other = ASIDE.iter().find_map(|(suffix, _)| other.strip_suffix(suffix)).unwrap_or(other);
    let alias = alias.rsplit('/').next()?;
    Some(format!("{other}:{alias}"))
}
