//! The interfaces that a guest may import, one file each.

mod clock;
mod command;
mod errors;
mod events;
mod grpc;
mod http;
pub(crate) mod log;
mod memo;
mod network;
mod udp;

use crate::{bindings::types, store::HostState};

impl types::Host for HostState {}
