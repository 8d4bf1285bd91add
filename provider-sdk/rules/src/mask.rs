//! Masking of secrets in URLs, for messages.

use std::ops::Range;

/// Replaces secrets in messages.
pub const MASK: &str = "<masked>";

/// A URL, or a path with query, for messages: user, password and query values are replaced by
/// [`MASK`].
pub fn masked_url(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    let mut at = 0;
    for part in masked_parts(url) {
        shown.push_str(&url[at..part.start]);
        shown.push_str(MASK);
        at = part.end;
    }
    shown.push_str(&url[at..]);
    shown
}

/// The ranges of a URL, or of a path with query, to mask, in order: user and password, query
/// values, a query without keys, and the fragment.
pub fn masked_parts(url: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let authority = url.find("://").map_or(0, |at| at + 3);
    let query = url.find(['?', '#']).unwrap_or(url.len());
    if authority > 0 {
        // Parsers disagree about where an authority ends if the password contains a slash, so
        // everything before the last `@` is masked.
        let end = query.max(authority);
        if let Some(at) = url[authority..end].rfind('@') {
            parts.push(authority..authority + at);
        } else if let Some(at) = url[end..].rfind('@') {
            // A password with `?` or `#` in it.
            parts.push(authority..end + at);
            return parts;
        }
    }
    if query == url.len() {
        return parts;
    }
    let mut at = query + 1;
    for pair in url[at..].split_inclusive(['&', ';', '#', '?']) {
        let text = pair.trim_end_matches(['&', ';', '#', '?']);
        let value = text.find('=').map_or(0, |equals| equals + 1);
        if value < text.len() {
            parts.push(at + value..at + text.len());
        }
        at += pair.len();
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_password_and_query_values_are_masked() {
        for (url, shown) in [
            ("http://host:80/base", "http://host:80/base"),
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("http://host/?key=s3cret", "http://host/?key=<masked>"),
            ("http://host/a?x=1&key=s3cret&y", "http://host/a?x=<masked>&key=<masked>&<masked>"),
            ("http://host/?s3cret", "http://host/?<masked>"),
            ("http://host/?a=s3cret;b=s3cret", "http://host/?a=<masked>;b=<masked>"),
            ("http://host/?a=#s3cret", "http://host/?a=#<masked>"),
            ("http://me:s3cret@host/a", "http://<masked>@host/a"),
            ("http://me:s3/cr@et@host/a?b=s3cret", "http://<masked>@host/a?b=<masked>"),
            ("http://me:s3?cret@host/", "http://<masked>@host/"),
            (
                "/v1.41/containers/web/stop?t=10&signal=SIGINT",
                "/v1.41/containers/web/stop?t=<masked>&signal=<masked>",
            ),
            ("/servers/me@home", "/servers/me@home"),
        ] {
            assert_eq!(masked_url(url), shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn secrets_are_masked_in_any_text(
            head in "(https?://)?[a-z@:/.]{0,8}", key in "[a-z]{0,3}", text in "\\PC*",
        ) {
            let _ = masked_url(&text);
            let shown = masked_url(&format!("{head}?{key}=S3CRET&{key}=S3CRET#S3CRET"));
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
            let shown = masked_url(&format!("http://me:S3CRET@{head}/"));
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
        }
    }
}
