//! The page that describes every key.

use std::fmt::Write;

use crate::{
    root::Root,
    schema::{Key, Kind, Presence, Schema, Table},
    trial::TestTable,
};

/// The documentation of a key of the table with this title, `[workload.NAME]` for instance; the keys at
/// the top of the file are in the table `The router`.
pub fn doc(table: &str, name: &str) -> Option<&'static str> {
    let tables = Root::SCHEMA.tables();
    Some(tables.into_iter().find(|held| held.title == table)?.key(name)?.doc.trim())
}

/// `docs/configuration.md`
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for table in Root::SCHEMA.tables() {
        section(&mut page, table);
    }
    page
}

/// The keys of a file for `drowse plugin test`, for its page.
pub fn trial_reference() -> String {
    let mut page = String::new();
    section(&mut page, TestTable::SCHEMA);
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `drowse_config::reference()` from the declarations that the reader itself uses. -->

The router reads one TOML file (`drowse run --config FILE`, else `./drowse.toml`, else
`/etc/drowse/drowse.toml`), or every `*.toml` of a directory as if it were one. `drowse check` reports
every error in it; `drowse init` writes a first one.

- A duration is a text with units: `500ms`, `10s`, `10m`, `1h30m`, `1d`.
- A size is a text with a unit: `512B`, `16MB`, `64MiB`, `1GiB`.
- A name is made of letters, digits, `-`, `_`, `.`, `/` and `@`; in a table's title it needs quotes
  if it holds one of the last three.
";

fn section(page: &mut String, table: &Schema) {
    let title = table.title;
    let title = if title.starts_with('[') { format!("`{title}`") } else { title.to_owned() };
    let about = table.about.trim();
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n{about}\n\n");
    page.push_str("| key | takes | without it | meaning |\n|---|---|---|---|\n");
    for key in table.keys() {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            takes(key.kind),
            without(&key),
            key.doc.trim().replace('|', "\\|")
        );
    }
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Value { word, .. } => word.to_owned(),
        Kind::Choice(words) => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Table(table) | Kind::Named(table) | Kind::Tables(table) => {
            format!("`{}`", table.title)
        }
    }
}

fn without(key: &Key) -> String {
    match key.presence {
        Presence::Required => "required".to_owned(),
        Presence::Default("{}") if matches!(key.kind, Kind::Table(_)) => "all defaults".to_owned(),
        Presence::Default(value) => format!("`{value}`"),
        Presence::Otherwise(words) => words.to_owned(),
    }
}
