//! What goes wrong in an instance, in plain words.

use std::time::Duration;

use drowse_core::ErrorCode;
use wasmtime::Trap;

use crate::settings::Limits;

/// How an instance broke: after any of these it is never used again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It answered with more than that of it.
    #[error("answered with {0} of more than {bytes}", bytes = size(*.1))]
    Answer(&'static str, u64),
    /// All guests together already use this much.
    #[error(
        "got no memory: the calls of all providers together may use {} (plugin-limits.memory)",
        size(*.0)
    )]
    Ceiling(u64),
    /// It computed longer than this, less what it was given back meanwhile.
    #[error("used up its {} of CPU time (limits.cpu)", seconds(*.0))]
    Cpu(Duration),
    /// Bytes over the border of a dynamic library that mean nothing there.
    #[error("sent {0} that contract 0.1 does not know: build it anew with drowse-provider-sdk")]
    Garbled(&'static str),
    /// More linear memory than its limit.
    #[error("used more than {} of memory (limits.memory)", size(*.0))]
    Memory(u64),
    /// It called this in `describe` or `configure`.
    #[error("called {0} where nothing outside may be called")]
    Outside(&'static str),
    /// A panic, with the message that it logged.
    #[error("panicked: {0}")]
    Panic(String),
    /// An HTTP response larger than its limit.
    #[error("read a response larger than {} (limits.response)", size(*.0))]
    Response(u64),
    /// More functions in a table than any provider has.
    #[error("used more than {0} table elements")]
    Table(usize),
    /// The system has no thread for a dynamic library.
    #[error("got no thread to run on: {0}")]
    Thread(String),
    /// Calls of a dynamic library hang on all of its threads: nothing can end them.
    #[error(
        "hangs on all of its {0} threads (limits.calls), where nothing can end it: mend it and \
         restart the router"
    )]
    Threads(usize),
    /// Anything else that ends WASM.
    #[error("trapped: {0}")]
    Trap(String),
    /// It could not read what it was asked.
    #[error("could not read what it was asked ({0}): build it anew with drowse-provider-sdk")]
    Unreadable(String),
    /// The call took this long.
    #[error("did not answer within {}", seconds(*.0))]
    Wall(Duration),
}

// === impl Fault ===

impl Fault {
    /// The fault behind an error of a call: what the host noted, else what the guest last said,
    /// else the trap.
    pub(crate) fn of(error: &wasmtime::Error, noted: Option<Self>, said: Option<String>) -> Self {
        if let Some(fault) = noted {
            return fault;
        }
        match (error.downcast_ref::<Trap>(), said) {
            (Some(Trap::UnreachableCodeReached), Some(said)) => Self::Panic(panic_message(&said)),
            (Some(Trap::UnreachableCodeReached), None) => {
                Self::Trap("aborted without a word".into())
            }
            (Some(Trap::StackOverflow), _) => Self::Trap("its stack overflowed".into()),
            // Compiled languages keep a second stack in linear memory; overflowing that looks so.
            (Some(Trap::MemoryOutOfBounds), _) => {
                Self::Trap("it reached outside its memory, as an overflowing stack does".into())
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

    /// The fault for too much memory under these limits.
    pub(crate) fn memory(limits: &Limits) -> Self {
        Self::Memory(limits.memory)
    }
}

/// What a panic hook logged, without the words that say that it was a panic. Rust's hooks write
/// `panicked at PLACE:` and the message on the next line.
pub(crate) fn panic_message(said: &str) -> String {
    let said = said.strip_prefix("panicked").unwrap_or(said).trim_start_matches([':', ' ']);
    match said.strip_prefix("at ").and_then(|said| said.split_once(":\n")) {
        Some((place, message)) => clean(&format!("{message} (at {place})"), 1024),
        None => clean(said, 1024),
    }
}

/// A duration as people write limits: `1 s`, `60 s`, `250 ms`.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// A size as people write limits: `64 MiB`, `100 bytes`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// A provider's text made fit for messages and logs: one line without hidden
/// characters, cut at `limit` bytes.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if clean.len() >= limit {
            clean.push('…');
            break;
        }
        if drowse_core::text::is_hidden(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_as_people_write_them() {
        assert_eq!(
            Fault::Memory(64 << 20).to_string(),
            "used more than 64 MiB of memory (limits.memory)"
        );
        assert_eq!(
            Fault::Cpu(Duration::from_secs(1)).to_string(),
            "used up its 1 s of CPU time (limits.cpu)"
        );
        assert_eq!(
            Fault::Wall(Duration::from_millis(1500)).to_string(),
            "did not answer within 1500 ms"
        );
    }

    #[test]
    fn an_abort_tells_what_the_panic_hook_logged() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let fault = Fault::of(&error, None, Some("panicked: no such luck".into()));
        assert_eq!(fault, Fault::Panic("no such luck".into()));
        let rust = Some("panicked at src/lib.rs:7:9:\nno such luck".into());
        let fault = Fault::of(&error, None, rust);
        assert_eq!(fault, Fault::Panic("no such luck (at src/lib.rs:7:9)".into()));
        let noted = Fault::of(&error, Some(Fault::Table(1)), Some("x".into()));
        assert_eq!(noted, Fault::Table(1));
    }

    #[test]
    fn text_becomes_one_harmless_line() {
        assert_eq!(clean("a\nb\u{1b}[31m\u{202e}c", 100), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert_eq!(clean("abcdef", 3), "abc…");
    }
}
