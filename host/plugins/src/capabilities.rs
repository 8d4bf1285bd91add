//! The interfaces that a guest may import, one file each.

mod clock;
mod command;
mod events;
#[allow(unreachable_pub, reason = "generated code re-exports its messages type")]
pub mod grpc;
#[allow(unreachable_pub, reason = "generated code re-exports its response type")]
pub mod http;
pub(crate) mod log;
pub(crate) mod memo;
mod network;
mod udp;

use crate::{bindings::types, store::HostState};

impl types::Host for HostState {}
