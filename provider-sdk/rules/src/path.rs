//! The path of a request, parsed only if it has a single interpretation.

use crate::{PATH_BYTES, RequestQuery};

/// Path and query of a request. The path has a single interpretation and is split into decoded
/// segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalizedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) query: RequestQuery,
}

/// Why a path is refused regardless of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A backslash, plain or encoded.
    #[error("it contains a backslash")]
    Backslash,
    /// A control character, plain or encoded.
    #[error("it contains a control character")]
    Control,
    /// `.` or `..`, in any spelling.
    #[error("it contains a dot segment")]
    DotSegment,
    /// Two consecutive slashes, or one at the end.
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
    /// A `;`, which begins parameters on some servers. In a name it is `%3B`.
    #[error("it contains `;`, which must be percent-encoded")]
    Parameters,
    /// A character that must be percent-encoded, or a fragment.
    #[error("it contains a character that must be percent-encoded")]
    Raw,
    /// Longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
}

// === impl NormalizedPath ===

impl NormalizedPath {
    /// Parses a provider's path and query.
    pub fn parse(path_and_query: &str) -> Result<Self, InvalidPath> {
        if path_and_query.len() > PATH_BYTES {
            return Err(InvalidPath::TooLong);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = path.strip_prefix('/').ok_or(InvalidPath::NoSlash)?;
        path_and_query.bytes().try_for_each(plain)?;
        if path.contains('\\') {
            return Err(InvalidPath::Backslash);
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

    /// The query after the `?`.
    pub fn query(&self) -> &RequestQuery {
        &self.query
    }
}

/// Returns whether a byte may stand in a request line unescaped.
fn plain(byte: u8) -> Result<(), InvalidPath> {
    match byte {
        b' ' | b'"' | b'#' | b'<' | b'>' | 0x80.. => Err(InvalidPath::Raw),
        _ if byte.is_ascii_control() => Err(InvalidPath::Control),
        _ => Ok(()),
    }
}

fn segment(raw: &str) -> Result<String, InvalidPath> {
    if raw.is_empty() {
        return Err(InvalidPath::EmptySegment);
    }
    let decoded = decode(raw)?;
    // Some servers cut parameters off before they resolve dots: `..;x` is `..` to them. Others
    // ignore spaces and dots at the end of a name.
    let name = decoded.split(';').next().unwrap_or_default();
    if name.starts_with('.') && name.bytes().all(|byte| matches!(byte, b'.' | b' ')) {
        return Err(InvalidPath::DotSegment);
    }
    // Some servers read the rest as parameters, which no rule checks.
    if raw.contains(';') {
        return Err(InvalidPath::Parameters);
    }
    if has_escape(&decoded) {
        return Err(InvalidPath::Encoding);
    }
    Ok(decoded)
}

fn decode(raw: &str) -> Result<String, InvalidPath> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex).ok_or(InvalidPath::Encoding)?;
        let low = bytes.next().and_then(hex).ok_or(InvalidPath::Encoding)?;
        match high << 4 | low {
            b'/' => return Err(InvalidPath::EncodedSlash),
            b'.' => return Err(InvalidPath::EncodedDot),
            b'\\' => return Err(InvalidPath::Backslash),
            byte if byte.is_ascii_control() => return Err(InvalidPath::Control),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| InvalidPath::Encoding)
}

/// Returns whether an escape survived decoding. A server that decodes twice would decode it.
pub(crate) fn has_escape(decoded: &str) -> bool {
    let escape = |w: &[u8]| w[0] == b'%' && hex(w[1]).is_some() && hex(w[2]).is_some();
    decoded.as_bytes().windows(3).any(escape)
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
