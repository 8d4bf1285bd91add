//! What is written, for people or for machines.
//!
//! Names, causes and log lines come from plugins and platforms: nothing of theirs reaches a terminal
//! as a control or format character.

use std::io::{self, IsTerminal, Write};

use drowse_core::text::{escape_coloured, escape_json, escape_lines};
use serde::Serialize;

use crate::error::Error;

/// Standard output, and how to write to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

/// How a word is set off on a terminal.
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
    /// In colour on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(json: bool) -> Self {
        let colour = io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour }
    }

    /// Writes an answer: as JSON, or as `text` says it to people.
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

    /// Writes a line to people as something goes on; nothing as JSON, whose answer comes at the end.
    pub(crate) fn say(&self, line: impl FnOnce(&Self) -> String) {
        if !self.json {
            // Whoever does not read any more still gets the exit code.
            let _ = self.write(&(line(self) + "\n"));
        }
    }

    /// Says to people how something goes that takes long, beside the answer that comes at its end.
    pub(crate) fn progress(&self, line: &str) {
        if !self.json {
            eprintln!("{}", escape_lines(line));
        }
    }

    /// Writes an error: as JSON to standard output, or for people to standard error.
    pub(crate) fn error(&self, error: &Error) {
        let told = match error.json() {
            Some(value) if self.json => self.write(&format!("{value:#}\n")).is_ok(),
            _ => false,
        };
        if let (false, Some(text)) = (told, error.text()) {
            eprintln!("drowse: {}", escape_lines(text));
        }
    }

    /// Sets a word off.
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

    /// For tests and files.
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
            // A reader that has seen enough, such as `head`, closes the pipe: that is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}
