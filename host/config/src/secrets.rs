//! What must never be quoted, decided by where it stands: everything an operator may have written
//! under a provider that is not known to be harmless, and everything under a name that is not
//! known at all.

use std::ops::Range;

use crate::{source::Source, tree::Value};

/// Whether the scalar at `path` may be a secret.
pub(crate) fn is_secret(path: &[String], value: &Value) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["provider", _, "endpoint", _, "url"] => {
            matches!(value, Value::Text(url) if url.contains('@'))
        }
        ["provider", _, "plugin"]
        | ["provider", _, "reach", ..]
        | ["provider", _, "limits", ..]
        | ["provider", _, "endpoint", _, "ca" | "fingerprint" | "rules" | "timeout"]
        | [
            "provider",
            _,
            "command",
            _,
            "run" | "directory" | "extra-arguments" | "extra-environment",
        ] => false,
        ["workload", _, key, ..] => *key == "settings",
        ["auth", _, "forward"] => matches!(value, Value::Text(url) if url.contains('@')),
        ["auth", _, "users" | "realm" | "user-header" | "headers" | "timeout"] => false,
        [
            "plugins" | "plugin-limits" | "allow-dylib" | "cache" | "state" | "control" | "threads"
            | "log" | "listener" | "pool" | "route" | "waiting",
            ..,
        ] => false,
        _ => true,
    }
}

/// What is hidden of a line that is not TOML: a secret may stand there without its quotes.
pub(crate) fn around_syntax_error(source: &Source, offset: usize) -> Option<Range<usize>> {
    let line = source.line_range(offset);
    let text = &source.text[line.clone()];
    let header = source.text[..line.end]
        .lines()
        .rev()
        .map(str::trim_start)
        .find(|line| line.starts_with('['))
        .map(|header| header.trim_start_matches(['[', ' ', '\t', '"', '\'']))
        .unwrap_or_default();
    let harmless =
        ["listener", "pool", "route", "workload"].iter().any(|table| header.starts_with(table))
            && !header.contains("settings")
            || header.is_empty() && !text.contains("provider");
    let lower = text.to_ascii_lowercase();
    let suspicious = [
        "header",
        "environment",
        "settings",
        "token",
        "key",
        "secret",
        "password",
        "authorization",
    ]
    .iter()
    .any(|word| lower.contains(word));
    if harmless && !suspicious {
        return None;
    }
    let from = text.find('=').map_or(0, |at| at + 1);
    let rest = &text[from..];
    let from = from + (rest.len() - rest.trim_start().len());
    (from < text.len()).then(|| line.start + from..line.end)
}
