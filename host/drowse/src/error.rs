//! Errors of commands.

use std::{fmt, path::Path, process::ExitCode};

use drowse_admin::ClientError;
use drowse_config::DefaultPaths;
use serde_json::{Value, json};

/// Why a command failed, as text or as JSON.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    code: String,
    message: String,
    /// The cause was already printed on standard output.
    printed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Failure,
    NotRunning,
}

// === impl Error ===

impl Error {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl ToString) -> Self {
        Self {
            exit: Exit::Failure,
            code: "failure".to_owned(),
            message: message.to_string(),
            printed: false,
        }
    }

    /// A failure whose cause was already printed.
    pub(crate) fn printed() -> Self {
        Self { printed: true, ..Self::new("") }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.exit {
            Exit::Failure => 1,
            Exit::NotRunning => 3,
        })
    }

    /// The error for `--json`; absent if the cause was already printed.
    pub(crate) fn json(&self) -> Option<Value> {
        (!self.printed).then(|| json!({ "error": { "code": self.code, "message": self.message } }))
    }

    /// The error as text; absent if the cause was already printed.
    pub(crate) fn text(&self) -> Option<&str> {
        (!self.printed).then_some(&self.message)
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

/// Advice for a user while root may run a router.
fn hint(asked: &Path, root: &Path) -> Option<String> {
    // Only root may read the directory.
    let there = asked != root && root.parent()?.exists();
    there.then(|| format!("; if root runs one at {}, use sudo", root.display()))
}

#[cfg(test)]
mod tests;
