//! Which workload a visitor wants, who is let in to it and who may wake it: matchers and the
//! immutable [`Table`] of a listener, what an operator says of authentication ([`Auth`]), and the
//! [`rules`] for waking.
//!
//! Precedence: an exact host before a wildcard, a longer wildcard before a shorter one, any host
//! last; within a host the longer path prefix first.

#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use drowse_core::WorkloadName;

mod auth;
mod host;
mod path;
pub mod rules;
mod similar;
mod table;

pub use auth::{Auth, AuthKind, BasicAuth, ForwardAuth};
pub use host::InvalidHost;
pub use path::{InvalidPath, parse_path};
pub use rules::WakeRules;
pub use table::{Conflict, Entry, NoRoute, Table, Tables, half_protected};

/// One line of the table: match → workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The listener it belongs to.
    pub listener: String,
    /// Which hosts.
    pub host: HostMatch,
    /// Path prefix on segment borders, beginning with `/`; `/` is every path.
    pub path: String,
    /// Who serves it.
    pub workload: WorkloadName,
    /// The workload's own port.
    pub port: u16,
    /// What a visitor gets while the workload is not ready.
    pub waiting: Waiting,
    /// A held visitor is turned away after this long.
    pub patience: Duration,
    /// Who may wake the workload.
    pub wake: Arc<WakeRules>,
    /// Who is let in at all; everybody when absent.
    pub auth: Option<Arc<Auth>>,
    /// What is done with paths that resemble this route's while it has an `auth`; `Refuse` when
    /// absent.
    pub similar_paths: Option<SimilarPaths>,
    /// Headers, in lower case, by which authentication on any route tells the workload who comes.
    /// A client's own are taken away on this one, too.
    pub vouched: Arc<[String]>,
}

/// Which hosts a route serves. Compared without case, port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Every host.
    Any,
    /// Exactly this one.
    Exact(String),
    /// `*.example.org`: any number of labels in front of this suffix (`example.org`), at least one.
    Wildcard(String),
}

/// What is done with paths that a backend may take for a protected route's, `/ADMIN` or
/// `/admin.json` for `/admin`, and that lead to the same workload by a route with another `auth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SimilarPaths {
    /// No route is found for them.
    #[default]
    Refuse,
    /// They go where their own route leads.
    Allow,
}

/// What a visitor gets while the workload is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// A browser's navigation gets the page, everything else is held.
    #[default]
    Auto,
    /// Held until ready, body unread.
    Hold,
    /// A page that follows along and opens by itself.
    Page,
    /// 503 with Retry-After; the wake goes on.
    Reject,
}
