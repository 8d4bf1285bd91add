//! Faults of instances, with their messages.

use std::time::Duration;

use drowse_core::ErrorCode;
use wasmtime::Trap;

use crate::text::{sanitize, seconds, size};

/// Why an instance was ended. An instance is never reused after a fault. The messages follow the
/// word "it" or "the plugin".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// An answer larger than the contract allows.
    #[error("answered with {0} of more than {bytes}", bytes = size(*.1))]
    Answer(&'static str, u64),
    /// The memory limit of all guests together is used up.
    #[error(
        "got no memory: all plugin calls together may use {} (plugin-limits.memory)",
        size(*.0)
    )]
    Ceiling(u64),
    /// CPU time above the limit, less the refund.
    #[error("used up its {} of CPU time (limits.cpu-time)", seconds(*.0))]
    Cpu(Duration),
    /// Bytes from a dynamic library that cannot be decoded.
    #[error("sent {0} that contract 0.1 does not define; rebuild it with drowse-provider-sdk")]
    Garbled(&'static str),
    /// Linear memory above the limit.
    #[error("used more than {} of memory (limits.memory)", size(*.0))]
    Memory(u64),
    /// A call of an import during `describe` or `configure`.
    #[error("called {0} in describe or configure, which may not call it")]
    Initializing(&'static str),
    /// A panic, with its logged message.
    #[error("panicked: {0}")]
    Panic(String),
    /// A response larger than the limit.
    #[error("read a response larger than {} (limits.max-response-size)", size(*.0))]
    Response(u64),
    /// A table with more elements than allowed.
    #[error("used more than {0} table elements")]
    Table(usize),
    /// The system could not create a thread for a dynamic library.
    #[error("got no thread to run on: {0}")]
    Thread(String),
    /// All threads of a dynamic library are blocked, and a thread cannot be ended.
    #[error(
        "blocks all of its {0} worker threads (limits.max-calls); fix the plugin and restart the router"
    )]
    Threads(usize),
    /// Any other trap.
    #[error("trapped: {0}")]
    Trap(String),
    /// The library could not decode its arguments.
    #[error("could not decode its arguments ({0}); rebuild it with drowse-provider-sdk")]
    Unreadable(String),
    /// The call exceeded its wall-clock limit.
    #[error("did not answer within {}", seconds(*.0))]
    Wall(Duration),
}

// === impl Fault ===

impl Fault {
    /// The fault behind an error of a call: the fault that the host recorded, else a panic with the
    /// last logged message, else the trap.
    pub(crate) fn of(
        error: &wasmtime::Error,
        recorded: Option<Self>,
        logged: Option<String>,
    ) -> Self {
        if let Some(fault) = recorded {
            return fault;
        }
        match (error.downcast_ref::<Trap>(), logged) {
            (Some(Trap::UnreachableCodeReached), Some(logged)) => {
                Self::Panic(panic_message(&logged))
            }
            (Some(Trap::UnreachableCodeReached), None) => {
                Self::Trap("aborted without a message".into())
            }
            (Some(Trap::StackOverflow), _) => Self::Trap("its stack overflowed".into()),
            // Compilers keep a second stack in linear memory; its overflow is an out-of-bounds
            // access.
            (Some(Trap::MemoryOutOfBounds), _) => {
                Self::Trap("it accessed memory out of bounds, possibly by a stack overflow".into())
            }
            (Some(trap), _) => Self::Trap(trap.to_string().replace("wasm trap: ", "")),
            (None, _) => Self::Trap(error.root_cause().to_string()),
        }
    }

    /// The stable code of the failed call.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Wall(_) => ErrorCode::Timeout,
            Self::Ceiling(_) | Self::Thread(_) | Self::Threads(_) => ErrorCode::Unavailable,
            _ => ErrorCode::Internal,
        }
    }
}

/// The message that a panic hook logged, without its prefix. Rust's hooks write `panicked at
/// PLACE:` and the message on the next line.
pub(crate) fn panic_message(logged: &str) -> String {
    let text = logged.strip_prefix("panicked").unwrap_or(logged).trim_start_matches([':', ' ']);
    match text.strip_prefix("at ").and_then(|text| text.split_once(":\n")) {
        Some((place, message)) => sanitize(&format!("{message} (at {place})"), 1024),
        None => sanitize(text, 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_format_limits_as_the_configuration_does() {
        assert_eq!(
            Fault::Memory(64 << 20).to_string(),
            "used more than 64 MiB of memory (limits.memory)"
        );
        assert_eq!(
            Fault::Cpu(Duration::from_secs(1)).to_string(),
            "used up its 1 s of CPU time (limits.cpu-time)"
        );
        assert_eq!(
            Fault::Wall(Duration::from_millis(1500)).to_string(),
            "did not answer within 1500 ms"
        );
    }

    #[test]
    fn an_abort_reports_the_message_of_the_panic_hook() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let fault = Fault::of(&error, None, Some("panicked: no such luck".into()));
        assert_eq!(fault, Fault::Panic("no such luck".into()));
        let rust = Some("panicked at src/lib.rs:7:9:\nno such luck".into());
        let fault = Fault::of(&error, None, rust);
        assert_eq!(fault, Fault::Panic("no such luck (at src/lib.rs:7:9)".into()));
        let recorded = Fault::of(&error, Some(Fault::Table(1)), Some("x".into()));
        assert_eq!(recorded, Fault::Table(1));
    }
}
