//! Log lines for standard error.
//!
//! A separate thread writes them: standard error may be a stopped terminal or a pipe without a reader,
//! which must not block visitors and operations. Lines hold text of plugins and platforms, so each event is
//! escaped to one line without control characters.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use drowse_core::text::{escape_coloured, escape_json, escape_line};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of queued lines. More are dropped and counted.
const WAITING: usize = 8192;

/// The queue of lines; there is one log per process.
static LOG: OnceLock<SyncSender<Message>> = OnceLock::new();
/// Number of lines dropped since the last queued one.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Coloured,
    Json,
}

/// A writer that gets each event as one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines(Format);

enum Message {
    Line(String),
    /// Answered when all earlier lines are written.
    Flush(SyncSender<()>),
}

// === impl Lines ===

impl Lines {
    /// Starts the writing thread.
    pub(super) fn begin(format: Format) -> io::Result<Self> {
        let (sender, messages) = sync_channel(WAITING);
        if LOG.set(sender).is_ok() {
            thread::Builder::new()
                .name("drowse-log".into())
                .spawn(move || write_all(&messages, io::stderr()))?;
        }
        Ok(Self(format))
    }
}

/// Waits until every line is written, or until `timeout` is over.
pub(super) fn flush(timeout: Duration) {
    let Some(log) = LOG.get() else { return };
    let (done, written) = sync_channel(1);
    if log.try_send(Message::Flush(done)).is_ok() {
        let _ = written.recv_timeout(timeout);
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(log) = LOG.get() {
            let mut line = self.0.line(&String::from_utf8_lossy(event));
            let dropped = DROPPED.swap(0, Relaxed);
            if dropped > 0 {
                line.insert_str(0, &self.0.notice(dropped));
            }
            if log.try_send(Message::Line(line)).is_err() {
                DROPPED.fetch_add(dropped + 1, Relaxed);
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Format ===

impl Format {
    /// An event as one line.
    fn line(self, event: &str) -> String {
        let event = event.trim_end_matches('\n');
        let shown: Cow<'_, str> = match self {
            Self::Plain => escape_line(event),
            Self::Json => escape_json(event),
            Self::Coloured => escape_coloured(event).replace('\n', "\\n").into(),
        };
        shown.into_owned() + "\n"
    }

    fn notice(self, dropped: u64) -> String {
        let why = "log lines were dropped: standard error is blocked";
        match self {
            Self::Json => format!("{{\"level\":\"WARN\",\"message\":\"{dropped} {why}\"}}\n"),
            Self::Plain | Self::Coloured => format!("WARN {dropped} {why}\n"),
        }
    }
}

/// Writes lines until the program ends.
fn write_all(messages: &Receiver<Message>, mut output: impl Write) {
    for message in messages {
        match message {
            // A failed write of the log cannot be reported.
            Message::Line(line) => drop(output.write_all(line.as_bytes())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_control_characters() {
        let event = "INFO it failed cause=\u{1b}[2J\u{202e}x\nINFO faked\n";
        let plain = Format::Plain.line(event);
        assert_eq!(plain, "INFO it failed cause=\\u{1b}[2J\\u{202e}x\\nINFO faked\n");
        let coloured = Format::Coloured.line("\u{1b}[32m INFO\u{1b}[0m a\nb\u{1b}]0;t\u{7}\n");
        assert_eq!(coloured, "\u{1b}[32m INFO\u{1b}[0m a\\nb\\u{1b}]0;t\\u{7}\n");
        assert_eq!(Format::Json.line("{\"a\":\"\u{202e}\"}\n"), "{\"a\":\"\\u202e\"}\n");
    }

    #[test]
    fn dropped_lines_are_reported_in_the_format_of_the_log() {
        let notice: serde_json::Value = serde_json::from_str(&Format::Json.notice(3)).unwrap();
        assert!(notice["message"].as_str().unwrap().starts_with("3 log lines"), "{notice}");
    }
}
