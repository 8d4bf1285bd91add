//! The settings of authentication.

use std::{path::PathBuf, time::Duration};

/// One `[auth.NAME]` table, for any number of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// NAME of the table.
    pub name: String,
    /// The method.
    pub kind: AuthKind,
}

/// The method by which clients are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// Name and password, by HTTP's basic scheme (RFC 7617).
    Basic(BasicAuth),
    /// An external service that decides about every request.
    Forward(ForwardAuth),
}

/// Basic authentication with a user file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user file: lines of `name:hash`, as `htpasswd -B` writes them. Reloaded when it changes.
    pub users: PathBuf,
    /// The realm, which some browsers show when they ask for the password.
    pub realm: String,
    /// The request header that carries the user's name to the workload, in lower case. Removed from
    /// requests of clients.
    pub user_header: Option<String>,
}

/// Forward authentication: an HTTP service that decides about every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Host of the service, which is reached by HTTP without TLS.
    pub host: String,
    /// Port of the service.
    pub port: u16,
    /// Path and query of the requests to the service.
    pub path: String,
    /// Headers of the service's response that are copied to the workload's request, in lower case.
    /// Removed from requests of clients.
    pub headers: Vec<String>,
    /// Time limit of the service's response.
    pub timeout: Duration,
}
