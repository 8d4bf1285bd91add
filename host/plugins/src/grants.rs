//! Rules of endpoints, messages about refused requests, and the TOML lines that grant more. Pure,
//! without I/O.
//!
//! The rules themselves are in `drowse-provider-rules`, which the SDK's test harness uses too.

mod policy;
mod toml;

pub use drowse_provider_rules::{
    InvalidRule, MASK, Rule, is_allowed_header, is_method, masked_parts, masked_url,
};

pub use self::{
    policy::{GrpcAttempt, HttpAttempt, Policy, RulesOrigin, line_to_add},
    toml::{toml_key, toml_string},
};

/// A common path of a CNI configuration.
pub const USUAL_NETWORK: &str = "/etc/cni/net.d/10-drowse.conflist";

/// The line of a provider's table that grants a network, with a common path of its configuration.
pub fn network_line(name: &str) -> String {
    format!("network.{} = {{ config = {} }}", toml_key(name), toml_string(USUAL_NETWORK))
}

#[cfg(test)]
mod tests;
