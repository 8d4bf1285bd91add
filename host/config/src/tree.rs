//! A configuration as a tree of values with their places. Several files become one tree.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Range,
};

use toml::de::{DeTable, DeValue};

use crate::{
    schema::Schema,
    secrets,
    source::{Source, Span},
};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// Must be masked.
    pub(crate) secret: bool,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    /// As written.
    Float(String),
    Flag(bool),
    /// As written.
    Date(String),
    List(Vec<Node>),
    Table(Entries),
}

/// The keys of a table.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The place of the key.
    pub(crate) key: Span,
    pub(crate) node: Node,
}

/// An error and its place.
pub(crate) type Finding = (Span, String);

/// The message about a key or table that a file defines twice.
pub(crate) const DEFINED_TWICE: &str = "is defined twice";

/// One file being parsed.
struct Parser<'s> {
    file: usize,
    root: &'s Schema,
    /// The keys above the value being parsed.
    path: Vec<String>,
    /// The values that must not be shown.
    secrets: Vec<Range<usize>>,
}

/// Parses one file and notes its secrets in it. The valid parts of a file with errors are returned.
pub(crate) fn parse(
    file: usize,
    source: &mut Source,
    root: &Schema,
    errors: &mut Vec<Finding>,
) -> Entries {
    let (table, syntax_errors) = DeTable::parse_recoverable(&source.text);
    let mut parser = Parser { file, root, path: Vec::new(), secrets: Vec::new() };
    let entries = parser.entries(table.into_inner());
    let mut found = parser.secrets;
    entries.values().for_each(|entry| secrets_in_urls(&source.text, &entry.node, &mut found));
    for error in &syntax_errors {
        let span = error.span().unwrap_or(0..0);
        found.extend(secrets::around_syntax_error(source, span.start));
        let at = Span::new(file, span);
        if !errors.iter().any(|(span, _)| *span == at) {
            errors.push((at, syntax_message(source, at, error.message())));
        }
    }
    source.secrets = found;
    entries
}

/// Notes the parts of the URLs below a node that must be masked.
fn secrets_in_urls(source: &str, node: &Node, found: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Text(text) if !node.secret => {
            found.extend(secrets::in_url(source, node.span.start..node.span.end, text));
        }
        Value::List(items) => items.iter().for_each(|it| secrets_in_urls(source, it, found)),
        Value::Table(entries) => {
            entries.values().for_each(|entry| secrets_in_urls(source, &entry.node, found));
        }
        _ => {}
    }
}

/// Merges the tables of several files: lists are joined, and each named table comes from one file.
pub(crate) fn merge(files: Vec<Entries>, sources: &[Source], errors: &mut Vec<Finding>) -> Entries {
    let mut all = Entries::new();
    for (key, entry) in files.into_iter().flatten() {
        match all.entry(key) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            btree_map::Entry::Occupied(mut held) => {
                let name = held.key().clone();
                join(&name, held.get_mut(), entry, sources, errors);
            }
        }
    }
    all
}

fn join(name: &str, held: &mut Entry, entry: Entry, sources: &[Source], errors: &mut Vec<Finding>) {
    let mut twice = |name: &str, first: Span, second: Span| {
        let first = sources[first.file].show(first);
        errors.push((second, format!("`{name}` is defined in {first}, too; keep one of them")));
    };
    match (&mut held.node.value, entry.node.value) {
        (Value::List(held), Value::List(more)) => held.extend(more),
        (Value::Table(held), Value::Table(more)) => {
            for (key, entry) in more {
                match held.entry(key) {
                    btree_map::Entry::Vacant(vacant) => {
                        vacant.insert(entry);
                    }
                    btree_map::Entry::Occupied(held) => {
                        twice(&format!("{name}.{}", held.key()), held.get().key, entry.key);
                    }
                }
            }
        }
        _ => twice(name, held.key, entry.key),
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn entries(&mut self, table: DeTable<'_>) -> Entries {
        let mut entries = Entries::new();
        for (key, value) in table {
            let span = Span::new(self.file, key.span());
            let name = key.into_inner().into_owned();
            self.path.push(name.clone());
            let node = self.node(value.span(), value.into_inner());
            self.path.pop();
            entries.insert(name, Entry { key: span, node });
        }
        entries
    }

    fn node(&mut self, range: Range<usize>, value: DeValue<'_>) -> Node {
        let span = Span::new(self.file, range.clone());
        let mut secret = false;
        let value = match value {
            DeValue::Table(table) => Value::Table(self.entries(table)),
            DeValue::Array(array) => Value::List(
                array.into_iter().map(|item| self.node(item.span(), item.into_inner())).collect(),
            ),
            other => {
                let value = scalar(other);
                let text = if let Value::Text(text) = &value { Some(text.as_str()) } else { None };
                secret = self.root.is_secret(&self.path, text);
                if secret {
                    self.secrets.push(range);
                }
                value
            }
        };
        Node { span, value, secret }
    }
}

/// A value without parts; lists and tables come out empty.
pub(crate) fn scalar(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Float(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(_) => Value::List(Vec::new()),
        DeValue::Table(_) => Value::Table(Entries::new()),
    }
}

fn syntax_message(source: &Source, span: Span, message: &str) -> String {
    let text = source.text.get(span.start..span.end).unwrap_or_default();
    let message = message.trim_end();
    if message.starts_with("duplicate key") {
        return format!("`{text}` {DEFINED_TWICE}; keep one");
    }
    if message.contains("string values must be quoted") {
        return "a text must be in double quotes".to_owned();
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string")
    {
        return "this text is not closed, or holds a character that it cannot hold".to_owned();
    }
    let message = message.strip_suffix(", expected nothing").unwrap_or(message);
    let number = message.contains("float") || message.contains("integer");
    let advice = if number { "; if it is a text, put it in double quotes" } else { "" };
    format!("this is not TOML: {message}{advice}")
}
