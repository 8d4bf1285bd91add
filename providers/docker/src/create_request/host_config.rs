//! The container's `HostConfig`: volumes, namespaces, links.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{is_anonymous, is_blank};
use crate::recreate::OLD_SUFFIXES;

/// Namespaces that may be shared with another container.
pub(super) const SHARED: [&str; 3] = ["IpcMode", "NetworkMode", "PidMode"];

/// Settings that a container in another container's network cannot have.
const OF_NETWORK_OWNER: [&str; 4] = ["Domainname", "ExposedPorts", "Hostname", "MacAddress"];

/// Mounts the old container's anonymous volumes by name at the same paths. Otherwise the engine
/// would create new, empty ones.
pub(super) fn keep_volumes(
    host: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    mounts: &[Value],
) {
    for mount in mounts.iter().filter(|mount| is_anonymous(mount)) {
        let destination = &mount["Destination"];
        let (Some(name), Some(path)) = (mount["Name"].as_str(), destination.as_str()) else {
            continue;
        };
        let requested = host.get_mut("Mounts").and_then(Value::as_array_mut);
        let mut requested = requested.into_iter().flatten();
        // A path is mounted once: the requested mount here gets the volume's name.
        if let Some(requested) = requested.find(|requested| requested["Target"] == *destination) {
            requested["Source"] = json!(name);
            continue;
        }
        let read_only = if mount["RW"] == false { ":ro" } else { "" };
        let bind = format!("{name}:{path}{read_only}");
        match host.get_mut("Binds") {
            // An earlier recreation already mounted the volume by its name.
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

/// `SOURCE:PATH` or `SOURCE:PATH:OPTIONS`
fn mounts_at(bind: &Value, path: &str) -> bool {
    bind.as_str().and_then(|bind| bind.split(':').nth(1)) == Some(path)
}

/// Converts reported values into the form that `create` accepts.
pub(super) fn convert(
    host: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    names: &BTreeMap<String, String>,
) {
    for key in SHARED {
        let Some(Value::String(mode)) = host.get_mut(key) else { continue };
        // The id is lost when that container is recreated; its name stays.
        let named = mode.strip_prefix("container:").and_then(|id| names.get(id));
        if let Some(name) = named {
            *mode = format!("container:{name}");
        }
    }
    // Podman reports the kernel's names: `RLIMIT_NOFILE` is `nofile`.
    for limit in host.get_mut("Ulimits").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(name) = limit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")) {
            limit["Name"] = json!(name.to_ascii_lowercase());
        }
    }
    if let Some(Value::Array(links)) = host.get_mut("Links") {
        for link in links {
            if let Some(requested) = link.as_str().and_then(as_requested) {
                *link = json!(requested);
            }
        }
    }
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default();
    if mode.starts_with("container:") {
        for key in OF_NETWORK_OWNER {
            config.remove(key);
        }
        for key in ["PortBindings", "PublishAllPorts"] {
            host.remove(key);
        }
    }
    // A port is published only if it is exposed, even if a newer image does not expose it.
    if let Some(Value::Object(published)) = host.get("PortBindings").filter(|it| !is_blank(it)) {
        let exposed = config.entry("ExposedPorts").or_insert_with(|| json!({}));
        if let Value::Object(exposed) = exposed {
            exposed.extend(published.keys().map(|port| (port.clone(), json!({}))));
        }
    }
    if host.get("UTSMode").and_then(Value::as_str) == Some("host") {
        // The container uses the host's names.
        config.remove("Hostname");
        config.remove("Domainname");
    }
}

/// Converts `/db:/web/alias` to `db:alias`.
fn as_requested(link: &str) -> Option<String> {
    let (other, alias) = link.split_once(':')?;
    let other = other.strip_prefix('/').unwrap_or(other);
    // The other container was recreated meanwhile: the engine keeps linking to the old one.
    let other =
        OLD_SUFFIXES.iter().find_map(|(suffix, _)| other.strip_suffix(suffix)).unwrap_or(other);
    let alias = alias.rsplit('/').next()?;
    Some(format!("{other}:{alias}"))
}
