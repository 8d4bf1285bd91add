//! What must never be quoted, decided by where it stands: everything an operator may have written
//! under a provider that is not known to be harmless, and everything under a name that is not
//! known at all.

use std::ops::Range;

use drowse_plugins::grants::{masked_parts, masked_url};

use crate::{source::Source, tree::Value};

/// Whether the scalar at `path` may be a secret.
pub(crate) fn is_secret(path: &[String], value: &Value) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["provider", _, "endpoint", _, "url"] => {
            matches!(value, Value::Text(url) if url.contains('@'))
        }
        ["provider", _, "plugin"]
        | ["provider", _, "allow-addresses", ..]
        | ["provider", _, "limits", ..]
        | ["provider", _, "endpoint", _, "ca" | "fingerprint" | "rules" | "timeout"]
        | [
            "provider",
            _,
            "command",
            _,
            "run" | "directory" | "allow-extra-arguments" | "allow-extra-environment",
        ] => false,
        ["workload", _, key, ..] => *key == "settings",
        ["auth", _, "forward"] => matches!(value, Value::Text(url) if url.contains('@')),
        ["auth", _, "users-file" | "realm" | "user-header" | "copy-headers" | "timeout"] => false,
        [
            "plugin-dir" | "plugin-limits" | "allow-dylib" | "cache-dir" | "state-dir"
            | "control-socket" | "threads" | "log" | "listener" | "pool" | "route" | "waiting",
            ..,
        ] => false,
        _ => true,
    }
}

/// Whether a text is a URL: it begins with a scheme.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A text as it may be shown: of a URL without user, password and the values of its query.
pub(crate) fn shown(text: &str) -> String {
    if is_url(text) { masked_url(text) } else { text.to_owned() }
}

/// The stretches of a quoted URL at `span` that are hidden, all of it where it is written with
/// escapes.
pub(crate) fn in_url(source: &str, span: Range<usize>, text: &str) -> Vec<Range<usize>> {
    let parts = if is_url(text) { masked_parts(text) } else { Vec::new() };
    let raw = source.get(span.clone()).unwrap_or_default();
    match raw.find(text) {
        _ if parts.is_empty() => parts,
        Some(at) => {
            let at = span.start + at;
            parts.into_iter().map(|part| at + part.start..at + part.end).collect()
        }
        None => vec![span],
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
