//! Who is let in at all: what an operator says of authentication.

use std::{path::PathBuf, time::Duration};

/// One way to authenticate, for any number of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The operator's name for it.
    pub name: String,
    /// How.
    pub kind: AuthKind,
}

/// How clients are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// By name and password, HTTP's basic scheme (RFC 7617).
    Basic(BasicAuth),
    /// By asking somebody else about every request.
    Forward(ForwardAuth),
}

/// Names and passwords from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// Lines of `name:hash`, as `htpasswd -B` writes them. Read again when it has changed.
    pub users: PathBuf,
    /// What browsers show when they ask for the password.
    pub realm: String,
    /// The header that tells the workload the user's name, in lower case. A client's own is taken
    /// away.
    pub user_header: Option<String>,
}

/// Somebody else who is asked about every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Where it listens, by HTTP in the clear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query to ask for.
    pub path: String,
    /// Headers of its answer that are copied to the workload's request, in lower case. A client's
    /// own are taken away.
    pub headers: Vec<String>,
    /// It must have answered after this long.
    pub timeout: Duration,
}
