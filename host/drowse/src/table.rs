//! Text tables.

use drowse_core::text::escape_line;

use crate::output::{Output, Tone};

#[cfg(test)]
mod tests;

/// Rows under titles.
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

// === impl Table ===

impl Table {
    /// An empty table.
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.titles.len());
        self.rows.push(cells.into());
    }

    /// As lines, columns aligned.
    pub(crate) fn render(&self, output: &Output) -> String {
        let titles: Vec<Cell> =
            self.titles.iter().map(|title| Cell::from(*title).in_tone(Tone::Title)).collect();
        let lines: Vec<&[Cell]> =
            [titles.as_slice()].into_iter().chain(self.rows.iter().map(Vec::as_slice)).collect();
        let widths: Vec<usize> = (0..self.titles.len())
            .map(|column| lines.iter().map(|line| line[column].width()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines {
            for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
                text.push_str(&output.paint(&cell.text, cell.tone));
                if index + 1 < line.len() {
                    text.push_str(&" ".repeat(width - cell.width() + 2));
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

// === impl Cell ===

impl Cell {
    /// The cell in another tone.
    pub(crate) fn in_tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        // Text of a platform may hold line breaks and control characters.
        let text = escape_line(&text.to_string()).into_owned();
        Self { text, tone: Tone::Plain }
    }
}
