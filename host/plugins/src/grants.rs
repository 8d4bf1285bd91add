//! Rules of endpoints, messages about refused requests, and the TOML lines that grant more. Pure,
//! without I/O.
//!
//! The rules themselves are in `drowse-provider-rules`, which the SDK's test harness uses too.

mod mask;
mod policy;

pub use drowse_provider_rules::{InvalidRule, Rule, is_allowed_header, is_method};

pub use self::{
    mask::{MASK, masked_parts, masked_url},
    policy::{GrpcAttempt, HttpAttempt, Policy, RulesOrigin, line_to_add},
};

/// A common path of a CNI configuration.
pub const USUAL_NETWORK: &str = "/etc/cni/net.d/10-drowse.conflist";

/// The line of a provider's table that grants a network, with a common path of its configuration.
pub fn network_line(name: &str) -> String {
    format!("network.{} = {{ config = {} }}", toml_key(name), toml_string(USUAL_NETWORK))
}

/// A name as a TOML key, quoted if necessary.
pub fn toml_key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { toml_string(name) }
}

/// A text as a TOML string.
pub fn toml_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
