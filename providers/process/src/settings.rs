//! Settings of a program.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Address, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Listening address, such as `127.0.0.1:8081`. Without address and port, every port of
    /// 127.0.0.1 belongs to the program.
    pub address: Option<String>,
    /// Listening port on 127.0.0.1, instead of `address`.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Arguments after the granted ones; the grant must allow them.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Environment variables besides the granted ones; the grant must allow the names.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Listening address of the program of this name.
    pub(crate) fn listens_at(&self, name: &str) -> Result<Address> {
        let refuse = |key: &str, what: &str| {
            Error::invalid_request(format!("settings of target {name:?}: key \"{key}\": {what}"))
        };
        match (&self.address, self.port) {
            (None, None) => Ok(Address::new("127.0.0.1")),
            (None, Some(0)) => Err(refuse("port", "0 is not a port")),
            (None, Some(port)) => Ok(Address::new("127.0.0.1").with_port(port)),
            (Some(_), Some(_)) => Err(refuse("port", "`address` is set as well; keep one of them")),
            (Some(text), None) => Address::parse(text).ok_or_else(|| {
                refuse("address", &format!("{text:?} is not host:port, for example 127.0.0.1:8081"))
            }),
        }
    }
}
