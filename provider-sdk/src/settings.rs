//! From the JSON that the host hands over to typed settings, with errors that name the key.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

pub use self::span::Span;
use crate::error::{Error, Result};

mod span;

/// Settings of a provider or target that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// The settings in `json`. `of` says whose they are: `settings`, `settings of target "web"`.
///
/// Types refuse unknown keys with `#[serde(deny_unknown_fields)]`; the harness insists on it.
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

/// The refusal of a key of the provider's settings, with what it should be.
pub fn refuse(key: &str, expected: &str) -> Error {
    Error::invalid_request(format!("settings: key \"{key}\": expected {expected}"))
}

/// Refuses what is no HTTP method in upper case, and the methods that no rule allows.
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

/// Refuses a path of an endpoint that does not begin where the endpoint does.
pub fn check_path(key: &str, path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(refuse(key, "a path that begins with /; the endpoint says where that is"));
    }
    Ok(())
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
