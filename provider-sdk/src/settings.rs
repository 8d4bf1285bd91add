//! Parses the JSON from the host to typed settings, with errors that name the key.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

pub use self::span::Span;
use crate::error::{Error, Result};

mod span;

/// Settings of a provider or target without settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Parses settings. `of` names their owner for errors: `settings`, `settings of target "web"`.
///
/// Types refuse unknown keys with `#[serde(deny_unknown_fields)]`; the test harness checks it.
pub fn parse<T: DeserializeOwned>(of: &str, json: &str) -> Result<T> {
    let refuse = |what: String| Error::invalid_request(format!("{of}: {what}"));
    let value: serde_json::Value = match json.trim() {
        "" => serde_json::Value::Object(serde_json::Map::new()),
        json => serde_json::from_str(json).map_err(|e| refuse(format!("not JSON: {e}")))?,
    };
    if !value.is_object() {
        return Err(refuse(format!("expected a table, found {}", kind(&value))));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let expected = error.into_inner();
        match path.as_str() {
            "." | "" => refuse(expected.to_string()),
            key => refuse(format!("key \"{key}\": {expected}")),
        }
    })
}

/// The error for a key of the provider's settings, with the expected value.
pub fn refuse(key: &str, expected: &str) -> Error {
    Error::invalid_request(format!("settings: key \"{key}\": expected {expected}"))
}

/// Validates an HTTP method: upper case, and none of those that no rule allows.
pub fn check_method(key: &str, method: &str) -> Result<()> {
    if method.is_empty() || !method.bytes().all(|c| c.is_ascii_uppercase()) {
        return Err(refuse(key, "a method in upper case, such as POST"));
    }
    if matches!(method, "CONNECT" | "TRACE" | "TRACK") {
        return Err(refuse(
            key,
            "a method that the router sends: CONNECT, TRACE and TRACK are refused",
        ));
    }
    Ok(())
}

/// Validates a path of an endpoint: it begins with `/`.
pub fn check_path(key: &str, path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(refuse(key, "a path that begins with /; the host comes from the endpoint"));
    }
    Ok(())
}

/// Returns whether the text is an IP address or a host name, without a port.
pub fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host_name(text)
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Validates the registry of image names, `ghcr.io` or `registry.lan:5000`: without scheme and path.
pub fn check_registry(key: &str, registry: &str) -> Result<()> {
    if registry.split(':').all(is_host_name) {
        return Ok(());
    }
    Err(Error::invalid_request(format!(
        "settings: key \"{key}\": {registry:?} is not the beginning of an image name; write for \
         instance ghcr.io or registry.lan:5000"
    )))
}

/// The JSON Schema (2020-12) of a settings type.
pub fn schema<T: JsonSchema>() -> String {
    schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value().to_string()
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
