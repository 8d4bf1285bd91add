//! Path prefixes: how they are written, how paths are compared and where a path may be cut.

use std::{borrow::Cow, fmt::Write};

/// A path that cannot be a route's prefix, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path prefix: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
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
    if path.split('/').any(|segment| matches!(&*decode(segment), "." | "..")) {
        return fail("'.' and '..' are resolved before paths are compared, so no path has them");
    }
    let Some(path) = normalise(path) else {
        return fail("some servers read a '.' or '..' in it, so no request gets there");
    };
    Ok(if path == "/" { &path } else { trim(&path) }.to_owned())
}

/// A path as it is compared: dot segments resolved, several slashes taken for one, characters that
/// need no percent-encoding decoded (RFC 3986 §6.2.2). `None` when only some servers read a dot
/// segment in it, behind an encoded slash, a backslash or a `;`: what it leads to is not known.
pub(crate) fn normalise(path: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = path.strip_prefix('/') else { return Some(path.into()) };
    if is_plain(path) {
        return Some(path.into());
    }
    let mut normal = String::with_capacity(path.len());
    let mut open = false;
    for segment in rest.split('/') {
        let segment = decode(segment);
        if hides_dots(&segment) {
            return None;
        }
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
    Some(normal.into())
}

/// There is nothing to normalise.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|b| {
        let plain = !matches!((before, b), (_, b'%' | b';' | b'\\') | (b'/', b'/' | b'.'));
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

/// Some servers read a dot segment in this one, which is decoded.
fn hides_dots(segment: &str) -> bool {
    let parts = segment.split('\\').flat_map(|part| part.split("%5C"));
    parts.flat_map(|part| part.split("%2F")).any(|part| {
        let name = part.split(';').next().unwrap_or_default();
        let name = name.split("%3B").next().unwrap_or_default();
        matches!(name, "." | "..") && name.len() < segment.len()
    })
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

#[cfg(test)]
mod tests;
