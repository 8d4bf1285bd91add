//! The container's `Config`.

use serde_json::{Map, Value, json};

use super::is_blank;

/// Keys whose value the image provides if the container has none.
const SCALARS: [&str; 4] = ["Shell", "StopSignal", "User", "WorkingDir"];

/// Tables that the engine merges with the image's entries.
const TABLES: [&str; 3] = ["ExposedPorts", "Labels", "Volumes"];

/// Keys that belong to the image only.
const IMAGE_ONLY: [&str; 2] = ["ArgsEscaped", "OnBuild"];

/// The container's configuration without values of the image and values that the engine generated.
pub(super) fn own(
    config: &Map<String, Value>,
    image: &Map<String, Value>,
    id: &str,
) -> Map<String, Value> {
    let mut own = config.clone();
    for key in SCALARS {
        if config.get(key) == image.get(key) {
            own.remove(key);
        }
    }
    for key in IMAGE_ONLY {
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
    let Some(Value::Object(of_image)) = image.get(key) else { return };
    table.retain(|name, value| of_image.get(name) != Some(value));
}

fn subtract_environment(own: &mut Map<String, Value>, image: &Map<String, Value>, id: &str) {
    let Some(Value::Array(variables)) = own.get_mut("Env") else { return };
    // Podman lists the host name among the variables, too.
    let host = |variable: &Value| variable.as_str()?.strip_prefix("HOSTNAME=").map(str::to_owned);
    variables.retain(|variable| !host(variable).is_some_and(|name| is_generated(&name, id)));
    let Some(Value::Array(of_image)) = image.get("Env") else { return };
    variables.retain(|variable| !of_image.contains(variable));
}

/// Whether the engine generated this host name: it is a prefix of the id and would name the old
/// container after a recreation.
fn is_generated(name: &str, id: &str) -> bool {
    name.len() >= 12 && id.starts_with(name)
}

/// The image provides every part that is not set.
fn subtract_healthcheck(own: &mut Map<String, Value>, image: &Map<String, Value>) {
    let Some(Value::Object(check)) = own.get_mut("Healthcheck") else { return };
    if let Some(Value::Object(of_image)) = image.get("Healthcheck") {
        check.retain(|part, value| of_image.get(part) != Some(value));
    }
    // The engine treats zero as not set.
    check.retain(|_, value| !is_blank(value) && *value != json!(0));
}

/// The image's command applies only with the image's entry point.
fn subtract_command(own: &mut Map<String, Value>, image: &Map<String, Value>) {
    let list = |of: &Map<String, Value>, key: &str| match of.get(key) {
        Some(Value::Array(words)) => words.clone(),
        _ => Vec::new(),
    };
    let entry = list(own, "Entrypoint");
    let (image_entry, image_command) = (list(image, "Entrypoint"), list(image, "Cmd"));
    let command = list(own, "Cmd");
    if entry != image_entry {
        if entry.is_empty() {
            // The only way to set no entry point.
            own.insert("Entrypoint".to_owned(), json!([""]));
        }
    } else if command == image_command {
        own.remove("Entrypoint");
        own.remove("Cmd");
    } else if !command.is_empty() {
        own.remove("Entrypoint");
    }
    // Otherwise the container sets the image's own entry point and no command.
}
