//! Listeners, protocols and waiting visitors of drowse.
//!
//! [`Proxy::bind`] binds the sockets, [`Proxy::run`] serves them: one thread per core, each with a
//! current-thread runtime, its own listening socket per listener (`SO_REUSEPORT`) and its own pool
//! of connections to upstreams. On the path of a request the threads share only the route table and
//! the workloads' gates.
//!
//! - `accept` accepts connections and reads PROXY protocol headers, whatever protocol follows.
//! - `http` serves a connection: routing, authentication, admission, forwarding to the upstream.
//! - `admission` matches a route and admits visitors at the gate, whatever the protocol. Every wake
//!   for a visitor begins there.
//! - `access` authenticates requests and decides whether they may wake; `waiting` and `page` serve
//!   visitors that wait.
//!
//! A visit is held until the last byte of both bodies. A visitor at a closed gate is held with its
//! body unread, shown a waiting page, or rejected with 503, as its route configures; each of these
//! wakes the workload.

#![forbid(unsafe_code)]

pub mod probe;
pub mod settings;

mod accept;
mod access;
mod admission;
mod bind;
mod client;
mod clock;
mod dial;
mod failure_log;
mod format;
mod http;
mod page;
mod progress;
mod proxy_protocol;
mod server;
mod slow_start;
mod suspicion;
mod thread;
mod via;
mod waiting;
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
