//! What people read: tables, times, and a little colour on terminals.

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use serde::Serialize;

/// Rows under a heading, columns aligned.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

/// The word in front of an error.
pub(crate) fn error_mark() -> &'static str {
    if io::stderr().is_terminal() { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" }
}

/// Prints a value for programs.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Seconds as people say them: `340ms`, `12s`, `3m 20s`, `5h 2m`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0 => format!("{:.0}ms", seconds.max(0.0) * 1e3),
        1..60 => format!("{whole}s"),
        60..3600 => format!("{}m {}s", whole / 60, whole % 60),
        3600..86400 => format!("{}h {}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {}h", whole / 86400, whole / 3600 % 24),
    }
}

// === impl Table ===

impl Table {
    /// A table with this heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The aligned lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        for line in self.lines() {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["blog".into(), "asleep".into()]);
        table.row(["a-long-name".into(), "ready".into()]);
        let expected = ["NAME         PHASE", "blog         asleep", "a-long-name  ready"];
        assert_eq!(table.lines(), expected);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(seconds(0.34), "340ms");
        assert_eq!(seconds(59.9), "59s");
        assert_eq!(seconds(200.0), "3m 20s");
        assert_eq!(seconds(18_120.0), "5h 2m");
        assert_eq!(seconds(90_000.0), "1d 1h");
    }
}
