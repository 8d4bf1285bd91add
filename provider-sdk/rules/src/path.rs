//! The path of a request, read in the one way that it can be read in.

use crate::{PATH_BYTES, RequestQuery};

/// Path and query of a request. The path can be read in one way only and is split into decoded
/// segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath {
    pub(crate) segments: Vec<String>,
    pub(crate) query: RequestQuery,
}

/// Why a path is refused whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFlaw {
    /// A backslash, plain or encoded.
    #[error("it contains a backslash")]
    Backslash,
    /// A control character, plain or encoded.
    #[error("it contains a control character")]
    Control,
    /// `.` or `..`, however written.
    #[error("it contains a dot segment")]
    DotSegment,
    /// Two slashes in a row or one at the end.
    #[error("it contains an empty segment")]
    EmptySegment,
    /// A dot written as `%2e`.
    #[error("it contains an encoded dot")]
    EncodedDot,
    /// A slash written as `%2f`.
    #[error("it contains an encoded slash")]
    EncodedSlash,
    /// `%` without two hexadecimal digits, text that is not UTF-8, or an escape of an escape.
    #[error("its percent-encoding is ambiguous or broken")]
    Encoding,
    /// Does not begin with a slash.
    #[error("it does not begin with `/`")]
    NoSlash,
    /// A `;`, behind which some servers read parameters. As a part of a name it is `%3B`.
    #[error("it contains `;`, which must be percent-encoded")]
    Parameters,
    /// A character that must be percent-encoded, or a fragment.
    #[error("it contains a character that must be percent-encoded")]
    Raw,
    /// Longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
}

// === impl CleanPath ===

impl CleanPath {
    /// Reads path and query as a provider wrote them.
    pub fn parse(path_and_query: &str) -> Result<Self, PathFlaw> {
        if path_and_query.len() > PATH_BYTES {
            return Err(PathFlaw::TooLong);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = path.strip_prefix('/').ok_or(PathFlaw::NoSlash)?;
        path_and_query.bytes().try_for_each(plain)?;
        if path.contains('\\') {
            return Err(PathFlaw::Backslash);
        }
        let query = query.map_or(RequestQuery::None, RequestQuery::parse);
        let mut segments = Vec::new();
        if !path.is_empty() {
            segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        }
        Ok(Self { segments, query })
    }

    /// The decoded segments.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// What follows the `?`.
    pub fn query(&self) -> &RequestQuery {
        &self.query
    }
}

/// A byte that may stand in a request line as it is.
fn plain(byte: u8) -> Result<(), PathFlaw> {
    match byte {
        b' ' | b'"' | b'#' | b'<' | b'>' | 0x80.. => Err(PathFlaw::Raw),
        _ if byte.is_ascii_control() => Err(PathFlaw::Control),
        _ => Ok(()),
    }
}

fn segment(raw: &str) -> Result<String, PathFlaw> {
    if raw.is_empty() {
        return Err(PathFlaw::EmptySegment);
    }
    let decoded = decode(raw)?;
    // Some servers cut parameters off before they resolve dots: `..;x` is `..` to them. Others
    // ignore spaces and dots at the end of a name.
    let name = decoded.split(';').next().unwrap_or_default();
    if name.starts_with('.') && name.bytes().all(|byte| matches!(byte, b'.' | b' ')) {
        return Err(PathFlaw::DotSegment);
    }
    // A server may read what follows as parameters, which no rule looks at.
    if raw.contains(';') {
        return Err(PathFlaw::Parameters);
    }
    if has_escape(&decoded) {
        return Err(PathFlaw::Encoding);
    }
    Ok(decoded)
}

fn decode(raw: &str) -> Result<String, PathFlaw> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex).ok_or(PathFlaw::Encoding)?;
        let low = bytes.next().and_then(hex).ok_or(PathFlaw::Encoding)?;
        match high << 4 | low {
            b'/' => return Err(PathFlaw::EncodedSlash),
            b'.' => return Err(PathFlaw::EncodedDot),
            b'\\' => return Err(PathFlaw::Backslash),
            byte if byte.is_ascii_control() => return Err(PathFlaw::Control),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| PathFlaw::Encoding)
}

/// Whether an escape survived decoding. A server that decodes twice would decode it.
pub(crate) fn has_escape(decoded: &str) -> bool {
    let escape = |w: &[u8]| w[0] == b'%' && hex(w[1]).is_some() && hex(w[2]).is_some();
    decoded.as_bytes().windows(3).any(escape)
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
