//! The masking of secrets in quotes: the credentials of URLs, and lines that are not TOML. Values of
//! secret keys are found by [`Schema::is_secret`](crate::schema::Schema::is_secret).

use std::ops::Range;

use drowse_plugins::grants::{masked_parts, masked_url};

use crate::source::Source;

/// Whether a text is a URL: it begins with a scheme.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A text without its secrets: user, password and query values of a URL are masked.
pub(crate) fn shown(text: &str) -> String {
    if is_url(text) { masked_url(text) } else { text.to_owned() }
}

/// The masked byte ranges of a quoted URL at `span`: all of it if it is written with escapes.
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

/// The masked byte range of a line that is not TOML: a secret may be there without quotes.
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
