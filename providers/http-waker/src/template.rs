//! Templates with `{name}` and `{values.KEY}`.

use std::collections::BTreeMap;

use drowse_provider_sdk::encode;
use serde_json::Value;

/// Values of a template's placeholders.
pub(crate) struct Values<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: &'a BTreeMap<String, String>,
}

/// A part of a template.
enum Part<'a> {
    Text(&'a str),
    Brace(char),
    Name,
    Value(&'a str),
}

/// Validates a template; the error is the reason.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parts(text).map(drop)
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        parts.push(Part::Text(&rest[..at]));
        let tail = &rest[at..];
        rest = if let Some(after) = tail.strip_prefix("{{") {
            parts.push(Part::Brace('{'));
            after
        } else if let Some(after) = tail.strip_prefix("}}") {
            parts.push(Part::Brace('}'));
            after
        } else {
            let inside = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
            let (word, after) =
                inside.ok_or_else(|| format!("matching or doubled braces in {text:?}"))?;
            parts.push(match (word, word.strip_prefix("values.")) {
                ("name", _) => Part::Name,
                (_, Some(key)) if !key.is_empty() => Part::Value(key),
                _ => return Err(format!("{{name}} or {{values.KEY}}, found {{{word}}}")),
            });
            after
        };
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

// === impl Values ===

impl Values<'_> {
    /// Fills a path: each value is percent-encoded.
    pub(crate) fn path(&self, text: &str) -> Result<String, String> {
        self.fill(text, encode)
    }

    /// Fills a header or a text body.
    pub(crate) fn text(&self, text: &str) -> Result<String, String> {
        self.fill(text, str::to_owned)
    }

    /// Fills each text of a JSON body.
    pub(crate) fn json(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(table) => {
                let filled = table.iter().map(|(key, value)| Ok((key.clone(), self.json(value)?)));
                Value::Object(filled.collect::<Result<_, String>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    fn fill(&self, text: &str, put: impl Fn(&str) -> String) -> Result<String, String> {
        let mut filled = String::new();
        for part in parts(text)? {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Brace(brace) => filled.push(brace),
                Part::Name => filled.push_str(&put(self.name)),
                Part::Value(key) => match self.values.get(key) {
                    Some(value) => filled.push_str(&put(value)),
                    None => return Err(format!("the target's settings have no values.{key}")),
                },
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_for_paths_and_json() {
        let values = BTreeMap::from([("zone".to_owned(), "a b".to_owned())]);
        let values = Values { name: "../x?y", values: &values };
        assert_eq!(
            values.path("/s/{name}/on?z={values.zone}").unwrap(),
            "/s/..%2Fx%3Fy/on?z=a%20b"
        );
        assert_eq!(values.text("{{{name}}}").unwrap(), "{../x?y}");
        let body = serde_json::json!({ "who": "{name}", "n": [1, "{values.zone}"] });
        let filled = serde_json::json!({ "who": "../x?y", "n": [1, "a b"] });
        assert_eq!(values.json(&body).unwrap(), filled);
    }

    #[test]
    fn an_invalid_template_is_refused() {
        for wrong in ["{", "}", "{name", "{nam}", "{values.}", "{}", "a}b"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        let values = Values { name: "x", values: &BTreeMap::new() };
        let error = values.path("/{values.zone}").unwrap_err();
        assert_eq!(error, "the target's settings have no values.zone");
    }
}
