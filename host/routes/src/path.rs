//! Path prefixes: how they are written and where a path may be cut.

/// A path that cannot be a route's prefix, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path prefix: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

/// Checks a path prefix and returns it without a last slash: `/api/` and `/api` are
/// the same.
///
/// It is compared with the request's path byte by byte, so it must be written as clients send it,
/// percent-encoded where need be.
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
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return fail("'.' and '..' are resolved by clients and never arrive");
    }
    Ok(if path == "/" { path } else { trim(path) }.to_owned())
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
