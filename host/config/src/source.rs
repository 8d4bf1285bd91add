//! The files of a configuration, and places in them.

use std::{fmt, ops::Range, path::PathBuf};

/// A stretch of one file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Index of the file.
    pub(crate) file: usize,
    /// First byte.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
}

/// One file.
pub(crate) struct Source {
    /// As the operator named it.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
    /// Stretches that are never shown.
    pub(crate) secrets: Vec<Range<usize>>,
}

/// Line and column, both from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// The line with an error in it, secrets masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The line as it may be shown.
    pub text: String,
    /// Characters in front of the error.
    pub indent: usize,
    /// Characters that are the error, at least one.
    pub width: usize,
}

/// What stands in a quote where a secret was.
const MASK: &str = "<masked>";

// === impl Place ===

impl Span {
    /// A place in `file`.
    pub(crate) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }
}

// === impl Source ===

/// Without the text, which has secrets in it.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source {
    /// Where `offset` is for people.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let offset = self.border(offset);
        let start = self.line_start(offset);
        let line = self.text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    /// `file:line` for a reference from elsewhere.
    pub(crate) fn show(&self, span: Span) -> String {
        format!("{}:{}", self.path.display(), self.position(span.start).line)
    }

    /// The line that begins the place, with the place marked.
    pub(crate) fn quote(&self, span: Span) -> Quote {
        let from = self.border(span.start);
        let start = self.line_start(from);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        let until = self.border(span.end).clamp(from, end);

        let hidden: Vec<_> =
            self.secrets.iter().filter(|secret| secret.start < end && start < secret.end).collect();
        let mut quote = Quote { text: String::new(), indent: 0, width: 0 };
        let mut masked = false;
        for (at, char) in self.text[start..end].char_indices() {
            let at = start + at;
            let before = quote.text.chars().count();
            if hidden.iter().any(|secret| secret.contains(&at)) {
                if !masked {
                    quote.text.push_str(MASK);
                }
                masked = true;
            } else {
                masked = false;
                quote.text.push(if char.is_control() { ' ' } else { char });
            }
            let added = quote.text.chars().count() - before;
            if at < from {
                quote.indent += added;
            } else if at < until {
                quote.width += added;
            }
        }
        quote.text.truncate(quote.text.trim_end().len());
        quote.width = quote.width.max(1);
        quote
    }

    /// The line that holds `offset`, without its line break.
    pub(crate) fn line_range(&self, offset: usize) -> Range<usize> {
        let start = self.line_start(self.border(offset));
        let end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        start..end
    }

    fn line_start(&self, offset: usize) -> usize {
        self.text[..offset].rfind('\n').map_or(0, |at| at + 1)
    }

    /// The nearest character border at or before `offset`.
    fn border(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}
