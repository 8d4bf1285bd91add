//! The admin API of drowse: its types, its server on the control socket, its client.
//!
//! The API is HTTP with JSON, under `/v0`, on a Unix socket that only the router's user may
//! connect to:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v0/status` | [`RouterStatus`] |
//! | `POST /v0/workloads/{name}/wake` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `POST /v0/workloads/{name}/sleep` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//!
//! The last two take `?wait=SECONDS`: they then answer when the workload is there, or say why it
//! is not. Everything else is a [`Problem`] (`application/problem+json`, RFC 9457) with a stable
//! code.

#![forbid(unsafe_code)]

mod client;
mod problem;
mod server;
mod socket;
mod types;

pub use client::{Client, ClientError};
pub use problem::Problem;
pub use server::{Control, LONGEST_WAIT, serve};
pub use socket::{ControlSocket, SocketError};
pub use types::{ListenerStatus, ProviderStatus, RouterStatus};
