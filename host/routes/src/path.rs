//! Path prefixes: their syntax, their normal form, and their comparison.

use std::{borrow::Cow, fmt::Write};

/// An invalid path prefix, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path prefix: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

/// A transformation that some servers apply to a path before they split it into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quirk {
    /// Drops the parameters of a segment, after its first `;` (RFC 3986 §3.3).
    Parameters = 1,
    /// Decodes `%2F` to a slash.
    Slashes = 2,
    /// Replaces backslashes, encoded or not, by slashes.
    Backslashes = 4,
    /// Drops parameters after decoding `%3B`.
    DecodedParameters = 8,
}

/// Parses a path prefix and returns its normal form, without a final slash: `/api/` and `/api` are
/// equal, and so are `/%7ejoe` and `/~joe`.
///
/// Characters that need percent-encoding in a request need it here.
pub fn parse_path(path: &str) -> Result<String, InvalidPath> {
    let fail = |reason| Err(InvalidPath { path: path.chars().take(200).collect(), reason });
    if !path.starts_with('/') {
        return fail("it must begin with '/'");
    }
    if path.contains(['?', '#']) {
        return fail("a path has no query and no fragment");
    }
    if path.contains('*') {
        return fail("every path is a prefix; leave out the '*'");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return fail("blanks and characters outside ASCII must be percent-encoded");
    }
    if path.contains("//") {
        return fail("it has an empty segment");
    }
    if has_dots(path) {
        return fail(
            "'.' and '..' are resolved before paths are compared, so a prefix with them never matches",
        );
    }
    if interpretations(path).nth(1).is_some() {
        return fail("some servers interpret it as another path, so no request matches it");
    }
    let path = normalise(path);
    Ok(if path == "/" { &path } else { trim(&path) }.to_owned())
}

/// The normal form of a path: dot segments resolved, repeated slashes merged, characters that need
/// no percent-encoding decoded (RFC 3986 §6.2.2).
pub(crate) fn normalise(path: &str) -> Cow<'_, str> {
    let Some(rest) = path.strip_prefix('/') else { return path.into() };
    if is_plain(path) {
        return path.into();
    }
    let mut normal = String::with_capacity(path.len());
    let mut open = false;
    for segment in rest.split('/') {
        let segment = decode(segment);
        open = matches!(&*segment, "" | "." | "..");
        if !open {
            normal.push('/');
            normal.push_str(&segment);
        } else if segment == ".." {
            normal.truncate(normal.rfind('/').unwrap_or(0));
        }
    }
    if open {
        normal.push('/');
    }
    normal.into()
}

/// The interpretations of a path by different servers, its normal form first. A path with an encoded
/// slash, a backslash or a `;` has several. It is routed only if all of them match one route.
pub(crate) fn interpretations(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let quirks = Quirk::all_for(path);
    let others = (1..=Quirk::ALL).filter(move |chosen| chosen & !quirks == 0);
    std::iter::once(normalise(path)).chain(others.map(|chosen| Quirk::apply(path, chosen).into()))
}

/// Returns whether a segment is `.` or `..`, encoded or not.
pub(crate) fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(&*decode(segment), "." | ".."))
}

/// The path is in normal form already.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|b| {
        let plain = !matches!((before, b), (_, b'%') | (b'/', b'/' | b'.'));
        before = b;
        plain
    })
}

/// Decodes escapes that are not needed, and writes the others in upper case.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let (mut decoded, mut rest) = (String::with_capacity(segment.len()), segment);
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let code = after.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                decoded.push(char::from(b));
                rest = &after[2..];
            }
            Some(b) => {
                // Writing to a string cannot fail.
                let _ = write!(decoded, "%{b:02X}");
                rest = &after[2..];
            }
            None => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded.into()
}

/// Each segment up to its first `;`.
fn without_parameters(path: &str) -> String {
    let names: Vec<_> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

/// The prefix without its final slash: `/` becomes the empty prefix of every path.
pub(crate) fn trim(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// The number of segments of a trimmed prefix.
pub(crate) fn depth(trimmed: &str) -> usize {
    trimmed.bytes().filter(|&b| b == b'/').count()
}

/// The prefixes of `path` in whole segments, at most `depth` of them, from the longest to the empty
/// one.
pub(crate) fn prefixes(path: &str, depth: usize) -> impl Iterator<Item = &str> {
    let mut end = Some(cut(path, depth));
    std::iter::from_fn(move || {
        let here = end?;
        end = path[..here].rfind('/');
        Some(&path[..here])
    })
}

/// The length of the longest prefix of `path` that has at most `depth` segments.
fn cut(path: &str, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    path.bytes()
        .enumerate()
        .filter(|&(_, b)| b == b'/')
        .nth(depth)
        .map_or(path.len(), |(position, _)| position)
}

// === impl Quirk ===

impl Quirk {
    const ALL: u8 = 15;
    /// In the order in which a server with several quirks applies them.
    const EACH: [Self; 4] =
        [Self::Parameters, Self::Slashes, Self::Backslashes, Self::DecodedParameters];

    /// The quirks that change this path, as bits.
    fn all_for(path: &str) -> u8 {
        if !path.contains(['%', ';', '\\']) {
            return 0;
        }
        let upper = path.to_ascii_uppercase();
        let here = |quirk: &Self| quirk.triggers().iter().any(|trigger| upper.contains(trigger));
        Self::EACH.iter().filter(|quirk| here(quirk)).fold(0, |all, quirk| all | *quirk as u8)
    }

    /// The character sequences that the quirk changes, in upper case.
    fn triggers(&self) -> &'static [&'static str] {
        match self {
            Self::Parameters => &[";"],
            Self::Slashes => &["%2F"],
            Self::Backslashes => &["\\", "%5C"],
            Self::DecodedParameters => &[";", "%3B"],
        }
    }

    /// The path as a server with these quirks interprets it.
    fn apply(path: &str, chosen: u8) -> String {
        let mut text = path.to_owned();
        for quirk in Self::EACH.iter().filter(|quirk| **quirk as u8 & chosen != 0) {
            text = match quirk {
                Self::Parameters => without_parameters(&text),
                Self::Slashes => text.replace("%2F", "/").replace("%2f", "/"),
                Self::Backslashes => {
                    text.replace('\\', "/").replace("%5C", "/").replace("%5c", "/")
                }
                Self::DecodedParameters => {
                    without_parameters(&text.replace("%3B", ";").replace("%3b", ";"))
                }
            };
        }
        normalise(&text).into_owned()
    }
}

#[cfg(test)]
mod tests;
