//! Reads tables by their declarations.
//!
//! An error is reported and reading goes on, so that one run shows all errors; a value that could not be
//! read is `None`.

use std::{collections::HashMap, marker::PhantomData, path::Path};

use toml::de::DeValue;

use crate::{
    root::Root,
    schema::{Key, Kind, Presence, Schema, Table, nearest},
    secrets,
    source::{Source, Span},
    tree::{Entries, Finding, Node, Value, scalar},
};

/// The files, and the errors in them so far.
pub(crate) struct Reader {
    pub(crate) sources: Vec<Source>,
    pub(crate) errors: Vec<Finding>,
    subject: Subject,
    /// Parsed default values, by their TOML.
    defaults: HashMap<&'static str, Option<Node>>,
}

/// The key that is being read.
#[derive(Clone)]
struct Subject {
    /// The title of its table.
    table: String,
    key: &'static str,
    /// The key itself, or its table if the key is absent.
    span: Span,
}

/// One type of value. Implemented by types that only name it.
pub(crate) trait ValueParser {
    type Value;
    /// The type's name in the reference and in errors.
    const KIND: Kind;

    /// Parses a value, or reports an error.
    fn parse(r: &mut Reader, node: &Node) -> Option<Self::Value>;
}

/// A table below another.
pub(crate) struct Nested<T>(PhantomData<T>);

/// Tables with names of the operator's choice.
pub(crate) struct Named<T>(PhantomData<T>);

/// A list of tables.
pub(crate) struct Tables<T>(PhantomData<T>);

/// The value of a key.
pub(crate) struct Field<T> {
    /// `None` if there is an error in it, which has been reported.
    pub(crate) value: Option<T>,
    pub(crate) mark: Mark,
}

/// A key and where it is written.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) key: &'static str,
    /// The value, or the table if the key is absent.
    pub(crate) span: Span,
    /// The operator wrote the key.
    pub(crate) written: bool,
}

/// The title and place of a table.
#[derive(Clone)]
pub(crate) struct Heading {
    /// With the operator's names, for instance `[workload.blog]`.
    pub(crate) title: String,
    /// Errors about absent keys point here.
    pub(crate) span: Span,
}

/// A table that is being read.
pub(crate) struct Section<'n> {
    heading: Heading,
    entries: &'n Entries,
}

// === impl Reader ===

impl Reader {
    /// A reader of these files.
    pub(crate) fn new(sources: Vec<Source>, errors: Vec<Finding>) -> Self {
        let subject = Subject { table: String::new(), key: "", span: Span::START };
        Self { sources, errors, subject, defaults: HashMap::new() }
    }

    /// Reports an error.
    pub(crate) fn report(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    /// Reports that the value being read is invalid. `T` is whatever the caller needs.
    pub(crate) fn refuse<T>(&mut self, node: &Node, why: impl AsRef<str>) -> Option<T> {
        let Subject { table, key, .. } = &self.subject;
        let message = format!("`{key}` in {table}: {}", why.as_ref());
        self.report(node.span, message);
        None
    }

    /// Reports that the value being read is of another kind.
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

    /// Reads the top of a file.
    pub(crate) fn root<T: Table>(&mut self, entries: &Entries) -> T {
        let heading = Heading { title: "the root table".to_owned(), span: Span::START };
        self.open(heading, entries)
    }

    /// Reads a table. Reports unknown and missing keys.
    fn open<T: Table>(&mut self, heading: Heading, entries: &Entries) -> T {
        let Heading { title, span } = &heading;
        for (name, entry) in entries {
            if T::SCHEMA.key(name).is_none() {
                let advice = advice(T::SCHEMA, name, title);
                self.report(entry.key, format!("unknown key `{name}` in {title}; {advice}"));
            }
        }
        for Key { name, kind, presence, .. } in T::SCHEMA.keys() {
            if matches!(presence, Presence::Required) && !entries.contains_key(name) {
                self.report(*span, format!("{title} needs `{name}`, {}", kind.expected()));
            }
        }
        T::read(self, &Section { heading, entries })
    }

    fn table<T: Table>(&mut self, node: &Node, heading: Heading) -> Option<T> {
        let Value::Table(entries) = &node.value else {
            let hint = as_table(node, heading.span, T::SCHEMA, &self.sources);
            let found = found(node);
            let title = heading.title;
            self.report(
                node.span,
                format!("{title}: expected a table of keys, found {found}{hint}"),
            );
            return None;
        };
        Some(self.open(heading, entries))
    }

    fn default(&mut self, toml: &'static str, span: Span) -> Option<Node> {
        let node = self.defaults.entry(toml).or_insert_with(|| {
            let value = DeValue::parse(toml).ok()?.into_inner();
            Some(default_node(value, span))
        });
        node.clone().map(|node| Node { span, ..node })
    }
}

fn default_node(value: DeValue<'_>, span: Span) -> Node {
    let value = match value {
        DeValue::Array(items) => Value::List(
            items.into_iter().map(|item| default_node(item.into_inner(), span)).collect(),
        ),
        value => scalar(value),
    };
    Node { span, value, secret: false }
}

// === impl Subject ===

impl Subject {
    /// The title of the table under this key.
    fn below(&self) -> String {
        let key = self.key;
        match self.table.strip_prefix('[') {
            Some(title) => format!("[{}.{key}]", title.trim_matches(['[', ']'])),
            None => format!("[{key}]"),
        }
    }
}

// === impl Section ===

impl Section<'_> {
    pub(crate) fn heading(&self) -> Heading {
        self.heading.clone()
    }

    /// Reads a key that must be there; its absence has been reported.
    pub(crate) fn required<P: ValueParser>(
        &self,
        r: &mut Reader,
        key: &'static str,
    ) -> Field<P::Value> {
        let value = self.written::<P>(r, key).flatten();
        Field { value, mark: self.mark(key) }
    }

    /// Reads a key with a default value.
    pub(crate) fn with_default<P: ValueParser>(
        &self,
        r: &mut Reader,
        key: &'static str,
        default: &'static str,
    ) -> Field<P::Value> {
        let value = match self.written::<P>(r, key) {
            Some(value) => value,
            None => {
                let default = r.default(default, self.heading.span);
                default.and_then(|node| self.parse::<P>(r, key, self.heading.span, &node))
            }
        };
        Field { value, mark: self.mark(key) }
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<P: ValueParser>(
        &self,
        r: &mut Reader,
        key: &'static str,
    ) -> Field<Option<P::Value>> {
        let value = match self.written::<P>(r, key) {
            Some(value) => value.map(Some),
            None => Some(None),
        };
        Field { value, mark: self.mark(key) }
    }

    /// The value of a key that is there. The inner `None` is an error.
    fn written<P: ValueParser>(
        &self,
        r: &mut Reader,
        key: &'static str,
    ) -> Option<Option<P::Value>> {
        let entry = self.entries.get(key)?;
        Some(self.parse::<P>(r, key, entry.key, &entry.node))
    }

    fn parse<P: ValueParser>(
        &self,
        r: &mut Reader,
        key: &'static str,
        span: Span,
        node: &Node,
    ) -> Option<P::Value> {
        r.subject = Subject { table: self.heading.title.clone(), key, span };
        P::parse(r, node)
    }

    fn mark(&self, key: &'static str) -> Mark {
        match self.entries.get(key) {
            Some(entry) => Mark { key, span: entry.node.span, written: true },
            None => Mark { key, span: self.heading.span, written: false },
        }
    }
}

// === impl Nested ===

impl<T: Table> ValueParser for Nested<T> {
    type Value = T;
    const KIND: Kind = Kind::Table(T::SCHEMA);

    fn parse(r: &mut Reader, node: &Node) -> Option<T> {
        let heading = Heading { title: r.subject.below(), span: r.subject.span };
        r.table(node, heading)
    }
}

// === impl Named ===

impl<T: Table> ValueParser for Named<T> {
    /// The names and their tables, without values that are no tables.
    type Value = Vec<(String, T)>;
    const KIND: Kind = Kind::Named(T::SCHEMA);

    fn parse(r: &mut Reader, node: &Node) -> Option<Self::Value> {
        let subject = r.subject.clone();
        let Value::Table(entries) = &node.value else {
            let (key, title, found) = (subject.key, T::SCHEMA.title, found(node));
            let message =
                format!("`{key}`: expected tables with names such as {title}, found {found}");
            r.report(node.span, message);
            return None;
        };
        let below = subject.below();
        let below = below.trim_end_matches(']');
        let mut tables = Vec::new();
        for (name, entry) in entries {
            let heading = Heading { title: format!("{below}.{name}]"), span: entry.key };
            tables.extend(r.table(&entry.node, heading).map(|table| (name.clone(), table)));
        }
        Some(tables)
    }
}

// === impl Tables ===

impl<T: Table> ValueParser for Tables<T> {
    /// `None` for an item that is no table.
    type Value = Vec<Option<T>>;
    const KIND: Kind = Kind::Tables(T::SCHEMA);

    fn parse(r: &mut Reader, node: &Node) -> Option<Self::Value> {
        let Value::List(items) = &node.value else {
            let (found, title) = (found(node), r.subject.below());
            let message = match node.value {
                Value::Table(_) => format!("there can be several: write [{title}], not {title}"),
                _ => format!("`{}`: expected [{title}] tables, found {found}", r.subject.key),
            };
            r.report(r.subject.span, message);
            return None;
        };
        let mut tables = Vec::new();
        for item in items {
            let heading = Heading { title: T::SCHEMA.title.to_owned(), span: item.span };
            tables.push(r.table(item, heading));
        }
        Some(tables)
    }
}

/// A description of a value.
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
fn as_table(node: &Node, key: Span, table: &Schema, sources: &[Source]) -> String {
    let Value::Text(text) = &node.value else { return String::new() };
    let takes = |it: &Key| match it.kind {
        Kind::Choice(words) => words.contains(&text.as_str()),
        Kind::Value { .. } => it.name == "http" && text.starts_with('/'),
        _ => false,
    };
    let key = sources[key.file].text.get(key.start..key.end);
    let (Some(key), Some(inner)) = (key, table.keys().into_iter().find(takes)) else {
        return String::new();
    };
    if node.secret {
        return String::new();
    }
    format!("; write `{key} = {{ {} = \"{}\" }}`", inner.name, text.escape_debug())
}

/// Advice about an unknown key.
fn advice(table: &Schema, name: &str, title: &str) -> String {
    if let Some(near) = table.nearest(name).or_else(|| table.synonym(name)) {
        return format!("did you mean `{near}`?");
    }
    for key in table.keys() {
        if let Kind::Table(inner) = key.kind
            && inner.key(name).is_some()
        {
            return format!("it belongs to `{}`: write `{}.{name}`", key.name, key.name);
        }
    }
    if title.starts_with('[')
        && let Some(near) = nearest(name, Root::SCHEMA.keys().iter().map(|key| key.name))
        && near == name
    {
        return format!("`{near}` belongs to the top of the file, before the first [table]");
    }
    let known: Vec<_> = table.keys().iter().map(|key| format!("`{}`", key.name)).collect();
    format!("known keys are {}", known.join(", "))
}
