//! What the operator writes for a program.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Address, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Where it listens, `127.0.0.1:8081`. Without address and port every port of 127.0.0.1 is
    /// taken to be the program's.
    pub address: Option<String>,
    /// The port on which it listens at 127.0.0.1; instead of `address`.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Put after the granted arguments; the grant must allow it.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Added to the granted environment; the grant must allow the names.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Where the program of this name listens.
    pub(crate) fn listens_at(&self, name: &str) -> Result<Address> {
        let refuse = |key: &str, what: &str| {
            Error::invalid_request(format!("settings of target {name:?}: key \"{key}\": {what}"))
        };
        match (&self.address, self.port) {
            (None, None) => Ok(Address::new("127.0.0.1")),
            (None, Some(0)) => Err(refuse("port", "0 is no port")),
            (None, Some(port)) => Ok(Address::new("127.0.0.1").with_port(port)),
            (Some(_), Some(_)) => Err(refuse("port", "there is an address, too; keep one of them")),
            (Some(text), None) => Address::parse(text).ok_or_else(|| {
                refuse(
                    "address",
                    &format!("{text:?} is not host:port, for instance 127.0.0.1:8081"),
                )
            }),
        }
    }
}
