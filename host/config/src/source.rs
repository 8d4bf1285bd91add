//! The files of a configuration, and spans of their text.

use std::{fmt, ops::Range, path::PathBuf};

/// A span of one file's text, in bytes.
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
    /// The content.
    pub(crate) text: String,
    /// Byte ranges that are masked in quotes.
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

/// The line that a diagnostic points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The line with its secrets masked.
    pub text: String,
    /// Number of characters before the marked ones.
    pub indent: usize,
    /// Number of marked characters, at least one.
    pub width: usize,
}

/// Replaces a secret in a quote.
const MASK: &str = "<masked>";

// === impl Span ===

impl Span {
    /// The start of the first file.
    pub(crate) const START: Self = Self { file: 0, start: 0, end: 0 };

    /// A span of `file`.
    pub(crate) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }
}

// === impl Source ===

/// Without the text, which can hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source {
    /// The line and column of `offset`.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let offset = self.border(offset);
        let start = self.line_start(offset);
        let line = self.text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    /// `file:line` for a reference in a message.
    pub(crate) fn show(&self, span: Span) -> String {
        format!("{}:{}", self.path.display(), self.position(span.start).line)
    }

    /// The first line of the span, with the span marked.
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
