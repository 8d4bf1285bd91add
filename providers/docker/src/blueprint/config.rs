//! What was set for the container itself.

use serde_json::{Map, Value, json};

use super::is_blank;

/// Values that the image's stand in for when there is none.
const WHOLE: [&str; 4] = ["Shell", "StopSignal", "User", "WorkingDir"];

/// Tables to which the image's entries are added.
const TABLES: [&str; 3] = ["ExposedPorts", "Labels", "Volumes"];

/// Of the image alone.
const OF_THE_IMAGE: [&str; 2] = ["ArgsEscaped", "OnBuild"];

/// The container's configuration less what came with the image and what the engine made up.
pub(super) fn own(
    config: &Map<String, Value>,
    image: &Map<String, Value>,
    id: &str,
) -> Map<String, Value> {
    let mut own = config.clone();
    for key in WHOLE {
        if config.get(key) == image.get(key) {
            own.remove(key);
        }
    }
    for key in OF_THE_IMAGE {
        own.remove(key);
    }
    for key in TABLES {
        subtract_table(&mut own, image, key);
    }
    subtract_environment(&mut own, image, id);
    subtract_healthcheck(&mut own, image);
    subtract_command(&mut own, image);
    if own.get("Hostname").and_then(Value::as_str).is_some_and(|name| is_generated(name, id)) {
        own.remove("Hostname");
    }
    own.retain(|_, value| !is_blank(value));
    own
}

fn subtract_table(own: &mut Map<String, Value>, image: &Map<String, Value>, key: &str) {
    let Some(Value::Object(table)) = own.get_mut(key) else { return };
    let Some(Value::Object(given)) = image.get(key) else { return };
    table.retain(|name, value| given.get(name) != Some(value));
}

fn subtract_environment(own: &mut Map<String, Value>, image: &Map<String, Value>, id: &str) {
    let Some(Value::Array(variables)) = own.get_mut("Env") else { return };
    // Podman tells the host name among the variables, too.
    let host = |variable: &Value| variable.as_str()?.strip_prefix("HOSTNAME=").map(str::to_owned);
    variables.retain(|variable| !host(variable).is_some_and(|name| is_generated(&name, id)));
    let Some(Value::Array(given)) = image.get("Env") else { return };
    variables.retain(|variable| !given.contains(variable));
}

/// Whether the engine chose this host name: it is the beginning of the id, and would name the old
/// container for ever.
fn is_generated(name: &str, id: &str) -> bool {
    name.len() >= 12 && id.starts_with(name)
}

/// Each part that is not set is the image's.
fn subtract_healthcheck(own: &mut Map<String, Value>, image: &Map<String, Value>) {
    let Some(Value::Object(check)) = own.get_mut("Healthcheck") else { return };
    if let Some(Value::Object(given)) = image.get("Healthcheck") {
        check.retain(|part, value| given.get(part) != Some(value));
    }
    // Zero is as good as not set.
    check.retain(|_, value| !is_blank(value) && *value != json!(0));
}

/// The image's command counts only with the image's entry point.
fn subtract_command(own: &mut Map<String, Value>, image: &Map<String, Value>) {
    let list = |of: &Map<String, Value>, key: &str| match of.get(key) {
        Some(Value::Array(words)) => words.clone(),
        _ => Vec::new(),
    };
    let entry = list(own, "Entrypoint");
    let (given_entry, given_command) = (list(image, "Entrypoint"), list(image, "Cmd"));
    let command = list(own, "Cmd");
    if entry != given_entry {
        if entry.is_empty() {
            // The one way to say that there is none.
            own.insert("Entrypoint".to_owned(), json!([""]));
        }
    } else if command == given_command {
        own.remove("Entrypoint");
        own.remove("Cmd");
    } else if !command.is_empty() {
        own.remove("Entrypoint");
    }
    // Else the image's own entry point was set, and with it no command.
}
