//! Why a command did not do what it was asked.

use std::{fmt, path::Path, process::ExitCode};

use drowse_admin::ClientError;
use drowse_config::DefaultPaths;
use serde_json::{Value, json};

/// One paragraph for people, the same for machines.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    code: String,
    message: String,
    /// Already told in full on standard output.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Failure,
    NotRunning,
}

// === impl Error ===

impl Error {
    /// It failed.
    pub(crate) fn new(message: impl ToString) -> Self {
        Self {
            exit: Exit::Failure,
            code: "failure".to_owned(),
            message: message.to_string(),
            told: false,
        }
    }

    /// It failed, and what was written says so.
    pub(crate) fn told() -> Self {
        Self { told: true, ..Self::new("") }
    }

    /// What a script gets.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.exit {
            Exit::Failure => 1,
            Exit::NotRunning => 3,
        })
    }

    /// For `--json`; absent when everything has been told.
    pub(crate) fn json(&self) -> Option<Value> {
        (!self.told).then(|| json!({ "error": { "code": self.code, "message": self.message } }))
    }

    /// For people; absent when everything has been told.
    pub(crate) fn text(&self) -> Option<&str> {
        (!self.told).then_some(&self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let (exit, code) = match &error {
            ClientError::NotRunning { .. } => (Exit::NotRunning, "not_running".to_owned()),
            ClientError::Refused(problem) => (Exit::Failure, problem.code.to_string()),
            _ => (Exit::Failure, "failure".to_owned()),
        };
        let mut message = error.to_string();
        if let ClientError::NotRunning { socket, .. } = &error {
            let root = DefaultPaths { root: true, ..DefaultPaths::default() }.control();
            message.push_str(&hint(socket, &root).unwrap_or_default());
        }
        Self { exit, code, ..Self::new(message) }
    }
}

/// What to do when root runs a router beside this user.
fn hint(asked: &Path, root: &Path) -> Option<String> {
    // Only root may look into the directory.
    let there = asked != root && root.parent()?.exists();
    there.then(|| format!("; if root runs one, at {}, ask it with sudo", root.display()))
}

#[cfg(test)]
mod tests;
