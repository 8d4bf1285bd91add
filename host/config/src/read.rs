//! Reads tables by their schema. An error is noted and reading goes on, so that one look shows
//! them all; what could not be read is `None`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use toml::de::DeValue;

use crate::{
    schema::{Key, Kind, Presence, Table, nearest},
    secrets,
    source::{Source, Span},
    tree::{Entries, Finding, Node, Value, scalar},
};

/// The files, and what is wrong with them so far.
pub(crate) struct Reader {
    pub(crate) sources: Vec<Source>,
    pub(crate) errors: Vec<Finding>,
    /// The key being read, for people.
    subject: String,
    /// Values that stand for absent keys.
    defaults: HashMap<&'static str, Option<Node>>,
}

/// One form that a value can have.
pub(crate) struct ValueParser<T> {
    /// How the schema names it.
    pub(crate) kind: Kind,
    /// Turns a node into the value, or notes what is wrong with it.
    pub(crate) read: fn(&mut Reader, &Node) -> Option<T>,
}

/// A table that is being read.
pub(crate) struct Section<'n> {
    table: &'static Table,
    /// For people: `[workload.blog]`.
    pub(crate) title: String,
    /// What to point at when something is not there.
    pub(crate) span: Span,
    entries: &'n Entries,
}

static EMPTY: Entries = BTreeMap::new();

// === impl Reader ===

impl Reader {
    /// A reader of these files.
    pub(crate) fn new(sources: Vec<Source>, errors: Vec<Finding>) -> Self {
        Self { sources, errors, subject: String::new(), defaults: HashMap::new() }
    }

    /// Notes something wrong at a place.
    pub(crate) fn report(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    /// Notes that the value being read is not right, and why. `T` is whatever the caller needs.
    pub(crate) fn refuse<T>(&mut self, node: &Node, why: impl AsRef<str>) -> Option<T> {
        let message = format!("{}: {}", self.subject, why.as_ref());
        self.report(node.span, message);
        None
    }

    /// Notes that the value being read is of another kind.
    pub(crate) fn mismatch<T>(&mut self, node: &Node, kind: Kind) -> Option<T> {
        let hint = match (&node.value, kind.word()) {
            (Value::Integer(number), "duration") => {
                format!("; write \"{number}s\" or \"{number}m\"")
            }
            (Value::Integer(number), "size") => format!("; write \"{number}B\" or \"{number}MiB\""),
            (Value::Text(_), "number" | "port" | "true or false") => {
                "; leave the quotes out".to_owned()
            }
            _ => String::new(),
        };
        let expected = kind.expected();
        self.refuse(node, format!("expected {expected}, found {}{hint}", found(node)))
    }

    /// The directory that relative paths at this place start from.
    pub(crate) fn directory(&self, span: Span) -> &Path {
        self.sources[span.file].path.parent().unwrap_or(Path::new(""))
    }

    /// `file:line` of a place.
    pub(crate) fn show(&self, span: Span) -> String {
        self.sources[span.file].show(span)
    }

    /// The top of the configuration.
    pub(crate) fn root<'n>(&mut self, entries: &'n Entries, table: &'static Table) -> Section<'n> {
        let span = Span { file: 0, start: 0, end: 0 };
        self.open(table, "the root table".to_owned(), span, entries)
    }

    /// Opens a table and notes the keys that nobody knows and those that are not there.
    fn open<'n>(
        &mut self,
        table: &'static Table,
        title: String,
        span: Span,
        entries: &'n Entries,
    ) -> Section<'n> {
        for (name, entry) in entries {
            if table.key(name).is_none() {
                let advice = advice(table, name, &title);
                self.report(entry.key, format!("unknown key `{name}` in {title}; {advice}"));
            }
        }
        for key in table.keys {
            if matches!(key.presence, Presence::Required) && !entries.contains_key(key.name) {
                let (name, expected) = (key.name, key.kind.expected());
                self.report(span, format!("{title} needs `{name}`, {expected}"));
            }
        }
        Section { table, title, span, entries }
    }

    fn table<'n>(
        &mut self,
        node: &'n Node,
        span: Span,
        table: &'static Table,
        title: String,
    ) -> Option<Section<'n>> {
        let Value::Table(entries) = &node.value else {
            let hint = as_table(node, span, table, &self.sources);
            self.report(
                node.span,
                format!("{title}: expected a table of keys, found {}{hint}", found(node)),
            );
            return None;
        };
        Some(self.open(table, title, span, entries))
    }

    fn default(&mut self, toml: &'static str, span: Span) -> Option<Node> {
        let node = self.defaults.entry(toml).or_insert_with(|| {
            let value = DeValue::parse(toml).ok()?.into_inner();
            Some(usual(value, span))
        });
        node.clone().map(|node| Node { span, ..node })
    }
}

/// What holds where nothing is written.
fn usual(value: DeValue<'_>, span: Span) -> Node {
    let value = match value {
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| usual(item.into_inner(), span)).collect())
        }
        value => scalar(value),
    };
    Node { span, value, secret: false }
}

// === impl Section ===

impl<'n> Section<'n> {
    /// Where the key stands, or the table if it does not.
    pub(crate) fn span_of(&self, key: &str) -> Span {
        self.entries.get(key).map_or(self.span, |entry| entry.node.span)
    }

    /// Where the items of a list stand, or nothing if the key is no list.
    pub(crate) fn spans_in(&self, key: &str) -> Vec<Span> {
        match self.entries.get(key).map(|entry| &entry.node.value) {
            Some(Value::List(items)) => items.iter().map(|item| item.span).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the operator wrote the key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key that is required or has a default. `None` when there is an error.
    pub(crate) fn get<T>(
        &self,
        r: &mut Reader,
        key: &'static str,
        form: &ValueParser<T>,
    ) -> Option<T> {
        self.expect(key, form.kind);
        match (self.entries.get(key), self.presence(key)) {
            (Some(entry), _) => self.read(r, key, form, &entry.node),
            (None, Presence::Default(toml)) => {
                let node = r.default(toml, self.span)?;
                self.read(r, key, form, &node)
            }
            (None, _) => None,
        }
    }

    /// The value of a key that may be absent. `None` when there is an error.
    pub(crate) fn find<T>(
        &self,
        r: &mut Reader,
        key: &'static str,
        form: &ValueParser<T>,
    ) -> Option<Option<T>> {
        self.expect(key, form.kind);
        match self.entries.get(key) {
            Some(entry) => self.read(r, key, form, &entry.node).map(Some),
            None => Some(None),
        }
    }

    /// The table under a key, an empty one if it is absent.
    pub(crate) fn table(&self, r: &mut Reader, key: &'static str) -> Option<Section<'n>> {
        let Kind::Table(table) = self.kind(key) else { return None };
        let title = self.below(key);
        match self.entries.get(key) {
            Some(entry) => r.table(&entry.node, entry.key, table, title),
            None => Some(r.open(table, title, self.span, &EMPTY)),
        }
    }

    /// The named tables under a key.
    pub(crate) fn named(&self, r: &mut Reader, key: &'static str) -> Vec<(&'n str, Section<'n>)> {
        let Kind::Named(table) = self.kind(key) else { return Vec::new() };
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let Value::Table(entries) = &entry.node.value else {
            let found = found(&entry.node);
            let title = table.title;
            r.report(
                entry.node.span,
                format!("`{key}`: expected tables with names such as {title}, found {found}"),
            );
            return Vec::new();
        };
        let below = self.below(key);
        let below = below.trim_end_matches(']');
        entries
            .iter()
            .filter_map(|(name, entry)| {
                let title = format!("{below}.{name}]");
                Some((name.as_str(), r.table(&entry.node, entry.key, table, title)?))
            })
            .collect()
    }

    /// The tables listed under a key.
    pub(crate) fn tables(&self, r: &mut Reader, key: &'static str) -> Vec<Section<'n>> {
        let Kind::Tables(table) = self.kind(key) else { return Vec::new() };
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let Value::List(items) = &entry.node.value else {
            let found = found(&entry.node);
            let title = self.below(key);
            let message = match entry.node.value {
                Value::Table(_) => format!("there can be several: write [{title}], not {title}"),
                _ => format!("`{key}`: expected [{title}] tables, found {found}"),
            };
            r.report(entry.key, message);
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|node| r.table(node, node.span, table, table.title.to_owned()))
            .collect()
    }

    fn read<T>(&self, r: &mut Reader, key: &str, form: &ValueParser<T>, node: &Node) -> Option<T> {
        r.subject = format!("`{key}` in {}", self.title);
        (form.read)(r, node)
    }

    fn below(&self, key: &str) -> String {
        match self.title.strip_prefix('[') {
            Some(title) => format!("[{}.{key}]", title.trim_matches(['[', ']'])),
            None => format!("[{key}]"),
        }
    }

    fn presence(&self, key: &str) -> Presence {
        self.table.key(key).map_or(Presence::Required, |key| key.presence)
    }

    fn kind(&self, key: &str) -> Kind {
        let key = self.table.key(key);
        debug_assert!(key.is_some(), "the schema of {} does not have this key", self.table.title);
        key.map_or(Kind::Choice(&[]), |key| key.kind)
    }

    /// The schema says the same as the code that reads.
    fn expect(&self, key: &str, kind: Kind) {
        debug_assert_eq!(self.kind(key).word(), kind.word(), "{}: {key}", self.table.title);
    }
}

/// Names a value for people.
pub(crate) fn found(node: &Node) -> String {
    match &node.value {
        Value::Text(_) if node.secret => "a text".to_owned(),
        Value::Text(text) => {
            let text = secrets::shown(text);
            let cut: String = text.chars().take(40).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("the text \"{}{more}\"", cut.escape_debug())
        }
        Value::Integer(_) | Value::Float(_) if node.secret => "a number".to_owned(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Flag(flag) => format!("{flag}"),
        Value::Date(_) => "a date".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// A value that stands for a table, written as the table: `sleep = "pause"` is
/// `sleep = { method = "pause" }`.
fn as_table(node: &Node, key: Span, table: &Table, sources: &[Source]) -> String {
    let Value::Text(text) = &node.value else { return String::new() };
    let takes = |it: &&Key| match it.kind {
        Kind::Choice(words) => words.contains(&text.as_str()),
        Kind::Value { .. } => it.name == "http" && text.starts_with('/'),
        _ => false,
    };
    let key = sources[key.file].text.get(key.start..key.end);
    let (Some(key), Some(inner)) = (key, table.keys.iter().find(takes)) else {
        return String::new();
    };
    if node.secret {
        return String::new();
    }
    format!("; write `{key} = {{ {} = \"{}\" }}`", inner.name, text.escape_debug())
}

/// What to do about an unknown key.
fn advice(table: &Table, name: &str, title: &str) -> String {
    if let Some(near) = table.nearest(name).or_else(|| table.synonym(name)) {
        return format!("did you mean `{near}`?");
    }
    for key in table.keys {
        if let Kind::Table(inner) = key.kind
            && inner.key(name).is_some()
        {
            return format!("it belongs to `{}`: write `{}.{name}`", key.name, key.name);
        }
    }
    if title.starts_with('[')
        && let Some(near) = nearest(name, crate::keys::ROUTER.keys.iter().map(|key| key.name))
        && near == name
    {
        return format!("`{near}` belongs to the top of the file, before the first [table]");
    }
    let known: Vec<_> = table.keys.iter().map(|key| format!("`{}`", key.name)).collect();
    format!("known keys are {}", known.join(", "))
}
