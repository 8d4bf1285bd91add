//! Functions of the host that a provider may call, and their implementations.
//!
//! In a component these are the contract's imports, called directly, so that a built component
//! imports exactly what its provider uses. Natively the [`Host`] installed for the thread
//! implements them.

use crate::words::Attribute;

#[cfg(target_family = "wasm")]
#[path = "host/imports.rs"]
mod backend;
#[cfg(not(target_family = "wasm"))]
#[path = "host/installed.rs"]
mod backend;

pub use backend::{Body, Messages};
#[cfg(not(target_family = "wasm"))]
pub use backend::{Host, Installed, NextMessage, ReadBody, install};
pub(crate) use backend::{
    add_network, changes, check_network, del_network, emit, find, granted, memo_delete, memo_get,
    memo_set, monotonic, now, output, send, send_datagram, server_stream, signal, sleep, spawn,
    synced, unary, usage, wait, write_log,
};

/// Head of an HTTP response, with the unread body.
pub struct Reply {
    /// Status code, such as 204.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<Attribute>,
    /// The unread body.
    pub body: Body,
}
