//! What is wrong with a configuration, told so that it can be mended.

use std::{fmt, io, path::PathBuf};

use crate::source::{Position, Quote, Source, Span};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file it is in.
    pub file: PathBuf,
    /// Where in the file; absent when it concerns the file as a whole.
    pub position: Option<Position>,
    /// What is wrong and what to do.
    pub message: String,
    /// The line it is in. Secrets are masked.
    pub quote: Option<Quote>,
}

/// Everything that is wrong, in the order of the files; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(Vec<Diagnostic>);

// === impl Diagnostic ===

impl Diagnostic {
    /// An error at `place`.
    pub(crate) fn at(sources: &[Source], span: Span, message: String) -> Self {
        let source = &sources[span.file];
        Self {
            file: source.path.clone(),
            position: Some(source.position(span.start)),
            message,
            quote: Some(source.quote(span)),
        }
    }

    /// A file that could not be read.
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
    /// None when there are no errors.
    pub(crate) fn new(errors: Vec<Diagnostic>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// Each of them.
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
    fn from(error: Diagnostic) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
