//! Path prefixes: how they are written, how paths are compared and where a path may be cut.

use std::{borrow::Cow, fmt::Write};

/// A path that cannot be a route's prefix, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path prefix: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

/// What some servers do with a path before they look at its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// What follows a `;` in a segment is no part of its name (RFC 3986 §3.3).
    Parameters = 1,
    /// `%2F` is a slash.
    Slashes = 2,
    /// A backslash, encoded or not, is a slash.
    Backslashes = 4,
    /// As the first, after everything was decoded.
    DecodedParameters = 8,
}

/// Checks a path prefix and returns it as it is compared, without a last slash: `/api/` and `/api`
/// are the same, and so are `/%7ejoe` and `/~joe`.
///
/// What needs percent-encoding in a request needs it here.
pub fn parse_path(path: &str) -> Result<String, InvalidPath> {
    let fail = |reason| Err(InvalidPath { path: path.chars().take(200).collect(), reason });
    if !path.starts_with('/') {
        return fail("it must begin with '/'");
    }
    if path.contains(['?', '#']) {
        return fail("a query or fragment is no part of a path");
    }
    if path.contains('*') {
        return fail("it is a prefix as it is; leave the '*' away");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return fail("blanks and characters outside ASCII must be percent-encoded");
    }
    if path.contains("//") {
        return fail("it has an empty segment");
    }
    if has_dots(path) {
        return fail("'.' and '..' are resolved before paths are compared, so no path has them");
    }
    if readings(path).nth(1).is_some() {
        return fail("some servers read it as another path, so no request gets there");
    }
    let path = normalise(path);
    Ok(if path == "/" { &path } else { trim(&path) }.to_owned())
}

/// A path as it is compared: dot segments resolved, several slashes taken for one, characters that
/// need no percent-encoding decoded (RFC 3986 §6.2.2).
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

/// Every path that servers take this one for, first the one as which it is compared. There are
/// several when it holds an encoded slash, a backslash or a `;`: what such a path leads to is known
/// only where all of them lead to the same.
pub(crate) fn readings(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let habits = Habit::all_for(path);
    let others = (1..=Habit::ALL).filter(move |chosen| chosen & !habits == 0);
    std::iter::once(normalise(path)).chain(others.map(|chosen| Habit::read(path, chosen).into()))
}

/// Segments of it are `.` or `..`, encoded or not.
pub(crate) fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(&*decode(segment), "." | ".."))
}

/// There is nothing to normalise.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|b| {
        let plain = !matches!((before, b), (_, b'%') | (b'/', b'/' | b'.'));
        before = b;
        plain
    })
}

/// Decodes what needs no encoding, and writes the rest in upper case.
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

/// Each segment without what comes after its first `;`.
fn without_parameters(path: &str) -> String {
    let names: Vec<_> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

/// The prefix without its last slash: `/` becomes empty, every path begins with it.
pub(crate) fn trim(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// How many segments a trimmed prefix has.
pub(crate) fn depth(trimmed: &str) -> usize {
    trimmed.bytes().filter(|&b| b == b'/').count()
}

/// Every prefix of `path` with at most `depth` segments that ends on a segment's border, longest
/// first, ending with the empty one.
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

// === impl Habit ===

impl Habit {
    const ALL: u8 = 15;
    /// In the order in which servers that have several go about it.
    const EACH: [Self; 4] =
        [Self::Parameters, Self::Slashes, Self::Backslashes, Self::DecodedParameters];

    /// Those that make a difference to this path, as bits.
    fn all_for(path: &str) -> u8 {
        if !path.contains(['%', ';', '\\']) {
            return 0;
        }
        let upper = path.to_ascii_uppercase();
        let here = |habit: &Self| habit.signs().iter().any(|sign| upper.contains(sign));
        Self::EACH.iter().filter(|habit| here(habit)).fold(0, |all, habit| all | *habit as u8)
    }

    /// What it looks for, in upper case.
    fn signs(&self) -> &'static [&'static str] {
        match self {
            Self::Parameters => &[";"],
            Self::Slashes => &["%2F"],
            Self::Backslashes => &["\\", "%5C"],
            Self::DecodedParameters => &[";", "%3B"],
        }
    }

    /// The path as a server with these habits reads it.
    fn read(path: &str, chosen: u8) -> String {
        let mut text = path.to_owned();
        for habit in Self::EACH.iter().filter(|habit| **habit as u8 & chosen != 0) {
            text = match habit {
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
