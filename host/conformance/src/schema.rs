//! Checks that a value is JSON Schema (2020-12), by the shape that the meta-schema gives each
//! keyword. Formats and regular expressions are not checked.
//!
//! The `jsonschema` crate would add 6.5 MB and some 50 crates to the router for this one check.

use serde_json::Value;

/// Maximum nesting depth of a schema.
const DEPTH: usize = 64;

/// Shape of a keyword's value.
#[derive(Clone, Copy)]
enum Shape {
    Schema,
    /// An object of schemas.
    Schemas,
    /// A non-empty list of schemas.
    SchemaList,
    Text,
    /// A list of unique texts.
    Texts,
    Flag,
    Number,
    /// An integer of zero or more.
    Count,
    List,
    /// A type name, or a list of them.
    Type,
    /// A reference; a local one must resolve.
    Reference,
}

const KEYWORDS: &[(&str, Shape)] = &[
    ("$anchor", Shape::Text),
    ("$comment", Shape::Text),
    ("$defs", Shape::Schemas),
    ("$id", Shape::Text),
    ("$ref", Shape::Reference),
    ("$schema", Shape::Text),
    ("additionalProperties", Shape::Schema),
    ("allOf", Shape::SchemaList),
    ("anyOf", Shape::SchemaList),
    ("contains", Shape::Schema),
    ("definitions", Shape::Schemas),
    ("dependentSchemas", Shape::Schemas),
    ("deprecated", Shape::Flag),
    ("description", Shape::Text),
    ("else", Shape::Schema),
    ("enum", Shape::List),
    ("examples", Shape::List),
    ("exclusiveMaximum", Shape::Number),
    ("exclusiveMinimum", Shape::Number),
    ("format", Shape::Text),
    ("if", Shape::Schema),
    ("items", Shape::Schema),
    ("maxContains", Shape::Count),
    ("maxItems", Shape::Count),
    ("maxLength", Shape::Count),
    ("maxProperties", Shape::Count),
    ("maximum", Shape::Number),
    ("minContains", Shape::Count),
    ("minItems", Shape::Count),
    ("minLength", Shape::Count),
    ("minProperties", Shape::Count),
    ("minimum", Shape::Number),
    ("multipleOf", Shape::Number),
    ("not", Shape::Schema),
    ("oneOf", Shape::SchemaList),
    ("pattern", Shape::Text),
    ("patternProperties", Shape::Schemas),
    ("prefixItems", Shape::SchemaList),
    ("properties", Shape::Schemas),
    ("propertyNames", Shape::Schema),
    ("readOnly", Shape::Flag),
    ("required", Shape::Texts),
    ("then", Shape::Schema),
    ("title", Shape::Text),
    ("type", Shape::Type),
    ("unevaluatedItems", Shape::Schema),
    ("unevaluatedProperties", Shape::Schema),
    ("uniqueItems", Shape::Flag),
    ("writeOnly", Shape::Flag),
];

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Finds why a value is no JSON Schema, with the position; None if it is one.
pub(crate) fn flaw(schema: &Value) -> Option<String> {
    Checker { root: schema }.schema(schema, "", 0)
}

/// Returns whether the schema refuses keys that it does not name.
pub(crate) fn is_closed(schema: &Value) -> bool {
    let closed = |key| schema.get(key) == Some(&Value::Bool(false));
    *schema == Value::Bool(false)
        || closed("additionalProperties")
        || closed("unevaluatedProperties")
}

struct Checker<'v> {
    root: &'v Value,
}

impl Checker<'_> {
    fn schema(&self, schema: &Value, at: &str, depth: usize) -> Option<String> {
        if depth > DEPTH {
            return Some(format!("{at} is deeper than {DEPTH} levels"));
        }
        let entries = match schema {
            Value::Bool(_) => return None,
            Value::Object(entries) => entries,
            _ => return Some(format!("{} is neither an object nor a boolean", place(at))),
        };
        entries.iter().find_map(|(keyword, value)| {
            let (_, shape) = KEYWORDS.iter().find(|(known, _)| known == keyword)?;
            self.keyword(*shape, value, &format!("{at}/{keyword}"), depth)
        })
    }

    fn keyword(&self, shape: Shape, value: &Value, at: &str, depth: usize) -> Option<String> {
        let wrong = |holds: bool, what: &str| (!holds).then(|| format!("{at} is not {what}"));
        match shape {
            Shape::Schema => self.schema(value, at, depth + 1),
            Shape::Schemas => match value {
                Value::Object(entries) => entries.iter().find_map(|(name, schema)| {
                    self.schema(schema, &format!("{at}/{name}"), depth + 1)
                }),
                _ => wrong(false, "an object of schemas"),
            },
            Shape::SchemaList => match value {
                Value::Array(items) if !items.is_empty() => {
                    items.iter().enumerate().find_map(|(index, schema)| {
                        self.schema(schema, &format!("{at}/{index}"), depth + 1)
                    })
                }
                _ => wrong(false, "a list of schemas"),
            },
            Shape::Text => wrong(value.is_string(), "a text"),
            Shape::Flag => wrong(value.is_boolean(), "true or false"),
            Shape::Number => wrong(value.is_number(), "a number"),
            Shape::Count => wrong(value.is_u64(), "an integer of 0 or more"),
            Shape::List => wrong(value.is_array(), "a list"),
            Shape::Texts => wrong(is_set(value, |_| true), "a list of unique texts"),
            Shape::Type => {
                let known = |word: &str| TYPES.contains(&word);
                let one = value.as_str().is_some_and(known);
                wrong(
                    one || is_set(value, known),
                    &format!("one or several of {}", TYPES.join(", ")),
                )
            }
            Shape::Reference => {
                let Some(reference) = value.as_str() else { return wrong(false, "a text") };
                let resolves = match reference.strip_prefix('#') {
                    Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                        self.root.pointer(pointer).is_some()
                    }
                    _ => true,
                };
                wrong(resolves, &format!("a reference that resolves: {reference}"))
            }
        }
    }
}

fn is_set(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    let Some(items) = value.as_array() else { return false };
    let mut words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
    let (all, fit) = (words.len() == items.len(), words.iter().all(|word| fits(word)));
    words.sort_unstable();
    words.dedup();
    all && fit && words.len() == items.len()
}

fn place(at: &str) -> &str {
    if at.is_empty() { "the schema" } else { at }
}

#[cfg(test)]
mod tests;
