//! Listeners, protocols and waiting visitors of drowse.
//!
//! [`Proxy::bind`] takes the sockets, [`Proxy::run`] serves them: one thread per core, each with a
//! current-thread runtime, a listening socket of its own per listener (`SO_REUSEPORT`) and a pool
//! of connections to upstreams. Nothing on the way of a request is shared between threads but the
//! route table and the workloads' gates.
//!
//! What a request goes through: its route is looked up, the workload's gate entered, the request
//! forwarded and the answer streamed back; the visit is held until the last byte of both bodies.
//! A visitor at a closed gate is held with its body unread, shown a page that follows along, or
//! turned away with 503, as the route says; each of these wakes the workload.

#![forbid(unsafe_code)]

pub mod probe;
pub mod settings;

mod access;
mod answer;
mod bind;
mod body;
mod client;
mod clock;
mod door;
mod forward;
mod headers;
mod page;
mod pool;
mod progress;
mod ramp;
mod server;
mod suspicion;
mod tunnel;
mod upstream;
mod via;
mod waiting;
mod words;
mod worker;

use std::sync::Arc;

use drowse_core::Workload;

pub use access::check_users;
pub use bind::{BindError, Listening};
pub use page::{ThemeError, check_theme};
pub use probe::NetProber;
pub use server::{Proxy, Running};
pub use settings::{HttpLimits, IDLE_UPSTREAMS, ListenerSettings, Protocol, WaitingSettings};

/// Every listener's routes, each leading to its workload.
pub type Tables = drowse_routes::Tables<Arc<Workload>>;
