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
//! | `POST /v0/workloads/{name}/restart` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `POST /v0/workloads/{name}/recreate` | [`WorkloadStatus`](drowse_core::WorkloadStatus) |
//! | `GET /v0/operations` | a list of [`Entry`](drowse_core::Entry), newest first |
//! | `GET /v0/events` | server-sent events: `phase` with a [`PhaseChange`](drowse_core::PhaseChange) |
//!
//! Those four take `?wait=SECONDS`: they then answer when the workload is there, or say why it is
//! not. All but `wake` take `?force=true`: whoever is inside is cut off. `recreate` takes
//! `?refresh=true`: what the workload is made of is fetched again. `operations` takes
//! `?workload=NAME` and `?limit=NUMBER`. Times are RFC 3339. Everything else is a [`Problem`]
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
pub use query::LONGEST_WAIT;
pub use server::{Control, serve};
pub use socket::{ControlSocket, SocketError};
pub use types::{Action, ListenerStatus, Order, ProviderStatus, RouterStatus};
