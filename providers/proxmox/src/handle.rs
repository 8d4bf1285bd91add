//! Handle of a guest: `100`, `lxc/100`, `qemu/100` or `node/100`.

use std::fmt;

use drowse_provider_sdk::{Error, Result};

/// Kind of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container.
    Lxc,
    /// A virtual machine.
    Qemu,
}

/// A parsed handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) vmid: u32,
    /// Kind, if the handle has one. A node in the handle may be outdated and is ignored.
    pub(crate) kind: Option<Kind>,
}

// === impl Kind ===

impl Kind {
    /// Parses the API's name of the kind.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "lxc" => Some(Self::Lxc),
            "qemu" => Some(Self::Qemu),
            _ => None,
        }
    }

    /// The API's name of the kind.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Qemu => "qemu",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Handle ===

impl Handle {
    /// Parses a handle; `invalid-request` if it is invalid. Sends no request.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (before, number) = match text.split_once('/') {
            Some((before, number)) => (Some(before), number),
            None => (None, text),
        };
        let digits = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let vmid = number.parse().ok().filter(|vmid| digits && (100..=999_999_999).contains(vmid));
        match vmid {
            Some(vmid) if before.is_none_or(is_node) => {
                Ok(Self { vmid, kind: before.and_then(Kind::parse) })
            }
            _ => Err(Error::invalid_request(format!(
                "target {text:?}: not a guest: a VMID such as 100, lxc/100, qemu/100, or a node name \
                 and a VMID such as pve1/100"
            ))),
        }
    }
}

/// Returns whether this can be a node name: a host name without dots.
pub(crate) fn is_node(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(letter)
}
