//! Errors and warnings about a configuration.

use std::{fmt, io, path::PathBuf};

use crate::source::{Position, Quote, Source, Span};

/// An error or a warning about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file it is about.
    pub file: PathBuf,
    /// The place in the file; absent if it is about the whole file.
    pub position: Option<Position>,
    /// The problem and what to do about it.
    pub message: String,
    /// The line at the position. Secrets are masked.
    pub quote: Option<Quote>,
}

/// All errors of a configuration, in the order of the files; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(Vec<Diagnostic>);

// === impl Diagnostic ===

impl Diagnostic {
    /// A diagnostic that points at `span`.
    pub(crate) fn at(sources: &[Source], span: Span, message: String) -> Self {
        let source = &sources[span.file];
        Self {
            file: source.path.clone(),
            position: Some(source.position(span.start)),
            message,
            quote: Some(source.quote(span)),
        }
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(file: PathBuf, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => {
                "; name another with --config, or write a first one with `drowse init`"
            }
            io::ErrorKind::PermissionDenied => "; let this user read it",
            io::ErrorKind::InvalidData => "; a configuration is UTF-8 text",
            _ => "",
        };
        let message = format!("cannot read the configuration: {error}{advice}");
        Self { file, position: None, message, quote: None }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        let Some(Position { line, column }) = self.position else {
            return write!(f, ": {}", self.message);
        };
        write!(f, ":{line}:{column}: {}", self.message)?;
        if let Some(quote) = &self.quote {
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n {gutter} |\n {number} | {}", quote.text)?;
            let caret = "^".repeat(quote.width);
            write!(f, "\n {gutter} | {}{caret}", " ".repeat(quote.indent))?;
        }
        Ok(())
    }
}

// === impl Diagnostics ===

impl Diagnostics {
    /// `None` if there are none.
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Option<Self> {
        (!diagnostics.is_empty()).then_some(Self(diagnostics))
    }

    /// Each diagnostic.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}
