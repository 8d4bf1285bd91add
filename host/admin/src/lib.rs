//! The admin API of drowse: its types, its server on the control socket, its client.
//!
//! The API is HTTP with JSON below `/v0`, on a Unix socket to which only the router's user can
//! connect:
//!
//! | request | response |
//! |---|---|
//! | `GET /v0/status` | [`RouterStatus`] |
//! | `POST /v0/workloads/{name}/wake` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `POST /v0/workloads/{name}/sleep` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `POST /v0/workloads/{name}/restart` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `POST /v0/workloads/{name}/recreate` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `GET /v0/operations` | a list of [`Entry`](drowse_core::Entry), newest first |
//! | `GET /v0/events` | server-sent events: `phase` with a [`PhaseChange`](drowse_core::PhaseChange) |
//!
//! The four `POST` requests take `?wait=SECONDS`: the response is then sent when the operation is
//! complete or has failed. All but `wake` take `?force=true`: open visits are closed. `recreate`
//! takes `?refresh=true`: the workload's image or other artifacts are fetched again. `operations`
//! takes `?workload=NAME` and `?limit=NUMBER`. Times are in RFC 3339. Errors are a [`Problem`]
//! (`application/problem+json`, RFC 9457) with a stable code.

#![forbid(unsafe_code)]

mod client;
mod problem;
mod query;
mod server;
mod socket;
mod types;

pub use client::{Client, ClientError};
pub use problem::Problem;
pub use query::MAX_WAIT;
pub use server::{Control, serve};
pub use socket::{ControlSocket, SocketError};
pub use types::{Action, ListenerStatus, OperationRequest, ProviderStatus, RouterStatus};
