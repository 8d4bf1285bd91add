//! Output as text or JSON.
//!
//! Names, causes and log lines come from plugins and platforms: their control and format characters never
//! reach a terminal.

use std::io::{self, IsTerminal, Write};

use drowse_core::text::{escape_coloured, escape_json, escape_lines};
use serde::Serialize;

use crate::error::Error;

/// Standard output and its format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

/// The colour of a word on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Title,
    Good,
    Busy,
    Bad,
    Quiet,
}

// === impl Output ===

impl Output {
    /// Output in colour on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(json: bool) -> Self {
        let colour = io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour }
    }

    /// Prints an answer: as JSON, or as `text` renders it.
    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&Self) -> String,
    ) -> Result<(), Error> {
        let mut text = if self.json {
            serde_json::to_string_pretty(value)
                .map_err(|error| Error::new(format!("cannot write the answer as JSON: {error}")))?
        } else {
            text(self)
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.write(&text)
            .map_err(|error| Error::new(format!("cannot write to standard output: {error}")))
    }

    /// Prints a line of progress to standard output; nothing with `--json`.
    pub(crate) fn say(&self, line: impl FnOnce(&Self) -> String) {
        if !self.json {
            // A closed pipe does not change the exit code.
            let _ = self.write(&(line(self) + "\n"));
        }
    }

    /// Prints the progress of a long operation to standard error; nothing with `--json`.
    pub(crate) fn progress(&self, line: &str) {
        if !self.json {
            eprintln!("{}", escape_lines(line));
        }
    }

    /// Prints an error: as JSON to standard output, or as text to standard error.
    pub(crate) fn error(&self, error: &Error) {
        let told = match error.json() {
            Some(value) if self.json => self.write(&format!("{value:#}\n")).is_ok(),
            _ => false,
        };
        if let (false, Some(text)) = (told, error.text()) {
            eprintln!("drowse: {}", escape_lines(text));
        }
    }

    /// Colours a word.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        let text = escape_lines(text);
        let code = match tone {
            _ if !self.colour => return text.into_owned(),
            Tone::Plain => return text.into_owned(),
            Tone::Title => "1",
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Output without colour.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { json: false, colour: false }
    }

    #[cfg(test)]
    pub(crate) fn coloured() -> Self {
        Self { json: false, colour: true }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let text = match (self.json, self.colour) {
            (true, _) => escape_json(text),
            (false, true) => escape_coloured(text),
            (false, false) => escape_lines(text),
        };
        let mut output = io::stdout();
        match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            // A reader such as `head` closes the pipe when it has enough: that is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}
