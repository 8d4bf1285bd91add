//! Formatting of texts for messages and logs.

use std::time::Duration;

/// Formats a duration as limits are written: `1 s`, `60 s`, `250 ms`.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// Formats a size as limits are written: `64 MiB`, `100 bytes`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Makes a provider's text safe for messages and logs: one line, hidden characters escaped, at most
/// `limit` bytes.
pub(crate) fn sanitize(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if clean.len() >= limit {
            clean.push('…');
            break;
        }
        if drowse_core::text::is_hidden(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Formats an error with its causes in one line.
pub(crate) fn error_chain(error: &wasmtime::Error) -> String {
    sanitize(&format!("{error:#}"), 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_is_one_line_without_hidden_characters() {
        assert_eq!(sanitize("a\nb\u{1b}[31m\u{202e}c", 100), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert_eq!(sanitize("abcdef", 3), "abc…");
    }
}
