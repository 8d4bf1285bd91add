//! From what a container is to what makes the same container again.
//!
//! The engine tells what a container was made of mixed with what came with its image and with what
//! the engine made up itself. Whatever comes from the image has to be left out, or it would hide
//! what a newer image brings; whatever the engine made up has to be left out, or it would be made
//! up no more. Pure: from the answers of `GET /containers/{id}/json` and `GET /images/{id}/json` to
//! the body of `POST /containers/create`.

mod config;
mod hosting;
mod networks;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::Version;

/// What makes a container again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blueprint {
    /// The body of `POST /containers/create`.
    pub(crate) body: Value,
    /// The networks that have to be joined before the start, each with how. Empty where the engine
    /// joins all of them at the creation.
    pub(crate) join: Vec<(String, Value)>,
}

/// Containers whose network or namespaces this one shares, as the engine names them: by ids.
pub(crate) fn companions(container: &Value) -> Vec<&str> {
    let mut companions: Vec<&str> = hosting::SHARED
        .iter()
        .filter_map(|key| container["HostConfig"][key].as_str()?.strip_prefix("container:"))
        .collect();
    companions.sort_unstable();
    companions.dedup();
    companions
}

/// The names of the volumes that belong to this container alone: the engine has named them by 64
/// hexadecimal digits, as nobody else did.
pub(crate) fn own_volumes(container: &Value) -> Vec<&str> {
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    mounts.filter(|mount| is_anonymous(mount)).filter_map(|mount| mount["Name"].as_str()).collect()
}

/// What makes a container again that was made of this image. `names` has the names of its
/// [`companions`]. The error says what cannot be made again.
pub(crate) fn draw(
    container: &Value,
    image: &Value,
    version: Version,
    names: &BTreeMap<String, String>,
) -> Result<Blueprint, String> {
    let empty = Map::new();
    let table = |value: &Value| value.as_object().unwrap_or(&empty).clone();
    let id = container["Id"].as_str().unwrap_or_default();
    let mut body = config::own(&table(&container["Config"]), &table(&image["Config"]), id);
    let mut host = table(&container["HostConfig"]);
    let mounts = container["Mounts"].as_array().map_or(&[][..], Vec::as_slice);
    hosting::keep_volumes(&mut host, &mut body, mounts);
    hosting::mend(&mut host, &mut body, names);
    let plan = networks::plan(container, &mut body, version)?;
    body.insert("HostConfig".to_owned(), Value::Object(host));
    if !plan.at_once.is_empty() {
        body.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": plan.at_once }));
    }
    Ok(Blueprint { body: Value::Object(body), join: plan.later })
}

fn is_anonymous(mount: &Value) -> bool {
    let name = mount["Name"].as_str().unwrap_or_default();
    let digits = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    mount["Type"] == "volume" && name.len() == 64 && digits
}

/// Null, or empty in any other way: the engine writes the one or the other by field and version.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
