//! Routing: host and path matchers, the immutable [`Table`] of a listener, the settings of
//! authentication ([`Auth`]) and the wake [`rules`].
//!
//! Precedence: an exact host before a wildcard, a longer wildcard before a shorter one, `*` last;
//! within a host the longer path prefix first.

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
pub use table::{Conflict, Entry, NoRoute, Table, Tables, unprotected_parents};

/// One route: listener, host and path → workload and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the listener.
    pub listener: String,
    /// The hosts that match.
    pub host: HostMatch,
    /// Path prefix in whole segments, starting with `/`; `/` matches every path.
    pub path: String,
    /// The workload that serves the route.
    pub workload: WorkloadName,
    /// The workload's own port.
    pub port: u16,
    /// The treatment of visitors while the workload is not ready.
    pub waiting: Waiting,
    /// Maximum time that a visitor is held.
    pub hold_timeout: Duration,
    /// The rules that decide which requests may wake the workload.
    pub wake: Arc<WakeRules>,
    /// Authentication; none when absent.
    pub auth: Option<Arc<Auth>>,
    /// The treatment of paths that resemble this route's, if it has an `auth`; `Refuse` when
    /// absent.
    pub similar_paths: Option<SimilarPaths>,
    /// Headers, in lower case, in which authentication on any route of the workload reports the
    /// user's identity. Removed from clients' requests on this route, with or without `auth`.
    pub identity_headers: Arc<[String]>,
}

/// The hosts of a route. Compared without case, port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Every host.
    Any,
    /// Exactly this host.
    Exact(String),
    /// `*.example.org`: one label or more before this suffix (`example.org`).
    Wildcard(String),
}

/// The treatment of paths that a backend may take for the path of a protected route, such as
/// `/ADMIN` or `/admin.json` for `/admin`, and that match another route of the workload with a
/// different `auth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SimilarPaths {
    /// They match no route.
    #[default]
    Refuse,
    /// They match their own route.
    Allow,
}

/// The treatment of visitors while the workload is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// A browser's navigation gets the waiting page, every other request is held.
    #[default]
    Auto,
    /// The request is held until the workload is ready, with its body unread.
    Hold,
    /// The waiting page, which shows progress and opens the workload when it is ready.
    Page,
    /// 503 with `Retry-After`; the wake continues.
    Reject,
}
