//! Paths that a backend may interpret as a protected path although they differ from it.
//!
//! Routes compare paths with case and extension, as RFC 3986 defines. Many backends do not: some
//! serve `/admin` for `/ADMIN`, `/admin.json`, `/admin%20` or `/%2561dmin`.

use std::borrow::Cow;

use crate::path::interpretations;

/// Maximum bytes of a path with escapes. A longer one counts as similar to every path, because
/// comparing it takes too long.
const MAX_PATH_BYTES: usize = 4096;
/// Maximum times that a path is decoded. Servers behind proxies decode it twice.
const MAX_DECODINGS: usize = 8;

/// The segments of a path as the most lenient backend compares them: decoded, in lower case and
/// without surrounding blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments(Vec<String>);

/// Returns whether `matches` is true for any interpretation of the path by a backend.
pub(crate) fn any_interpretation(path: &str, mut matches: impl FnMut(&Segments) -> bool) -> bool {
    for interpretation in interpretations(path) {
        let mut text = interpretation;
        for _ in 0..=MAX_DECODINGS {
            if matches(&Segments::new(&text, false))
                || (text.contains(';') && matches(&Segments::new(&text, true)))
            {
                return true;
            }
            match decode(&text) {
                Some(decoded) => text = Cow::Owned(decoded),
                None => break,
            }
        }
    }
    false
}

/// The path is too long to be compared.
pub(crate) fn is_too_long(path: &str) -> bool {
    path.len() > MAX_PATH_BYTES && path.contains(['%', ';', '\\'])
}

/// Decodes every escape, including `%u0041`. None if there is none.
fn decode(text: &str) -> Option<String> {
    let (mut decoded, mut rest, mut any) = (Vec::with_capacity(text.len()), text, false);
    while let Some((before, after)) = rest.split_once('%') {
        decoded.extend_from_slice(before.as_bytes());
        let hex = |digits: Option<&str>| {
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u32::from_str_radix(digits, 16).ok()
        };
        let wide = after.strip_prefix(['u', 'U']).and_then(|digits| hex(digits.get(..4)));
        if let Some(byte) = hex(after.get(..2)).and_then(|code| u8::try_from(code).ok()) {
            decoded.push(byte);
            rest = &after[2..];
            any = true;
        } else if let Some(character) = wide.and_then(char::from_u32) {
            decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &after[5..];
            any = true;
        } else {
            decoded.push(b'%');
            rest = after;
        }
    }
    decoded.extend_from_slice(rest.as_bytes());
    any.then(|| String::from_utf8_lossy(&decoded).into_owned())
}

/// Folds case, and full-width forms to their ordinary characters.
fn fold(character: char) -> impl Iterator<Item = char> {
    let plain = match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    };
    // Upper case first: a long s and a dotless i have no lower case.
    plain.to_uppercase().flat_map(char::to_lowercase)
}

// === impl Segments ===

impl Segments {
    /// The segments of a prefix in normal form.
    pub(crate) fn of_prefix(path: &str) -> Self {
        let decoded = decode(path);
        Self::new(decoded.as_deref().unwrap_or(path), false)
    }

    /// The path's segments with dots resolved, each up to its first `;` if `drop_parameters` is
    /// set.
    fn new(path: &str, drop_parameters: bool) -> Self {
        let mut segments: Vec<String> = Vec::new();
        for segment in path.split(['/', '\\']) {
            let segment = match segment.split_once(';') {
                Some((name, _)) if drop_parameters => name,
                _ => segment,
            };
            match segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.chars().flat_map(fold).collect()),
            }
        }
        Self(segments)
    }

    /// Whether some backend takes the first segments for those of the prefix: each may have a
    /// suffix that begins with a punctuation character, such as an extension.
    pub(crate) fn resemble(&self, prefix: &Self) -> bool {
        let is_similar = |(name, wanted): (&String, &String)| {
            let is_punctuation = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_');
            name.strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.chars().next().is_none_or(is_punctuation))
        };
        self.0.len() >= prefix.0.len() && self.0.iter().zip(&prefix.0).all(is_similar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resembles(path: &str, prefix: &str) -> bool {
        let prefix = Segments::of_prefix(prefix);
        any_interpretation(path, |segments| segments.resemble(&prefix))
    }

    #[test]
    fn paths_that_some_backend_takes_for_another_resemble_it() {
        for path in [
            "/admin",
            "/ADMIN",
            "/Admin/users",
            "/admin.json",
            "/admin.",
            "/admin%20",
            "/%20admin",
            "/admin%00.png",
            "/admin%09",
            "/admin;x=1",
            "/admin%3Bx",
            "/admin%3Fx",
            "/admin%23x",
            "/admin::$DATA",
            "/admin~",
            "/%41dmin",
            "/%2541dmin",
            "/%252541dmin",
            "/%u0041dmin",
            "/\u{ff41}dmin",
            "/%EF%BD%81dmin",
            "/adm%C4%B1n",
            "/x/..;/ADMIN",
            "/x/..;%2Fy/%41DMIN",
            "/x/%252e%252e/admin",
            "/x%5C..%5CADMIN",
            "/x/..%20/ADMIN",
            "//ADMIN",
            "/./ADMIN/../ADMIN",
        ] {
            assert!(resembles(path, "/admin"), "{path}");
        }
        assert!(resembles("/API/Users.json/x", "/api/users"));
        assert!(resembles("/CAF%c3%89.html", "/caf%C3%A9"));
        assert!(resembles("/~JOE", "/~joe"));
    }

    #[test]
    fn other_paths_do_not_resemble_it() {
        for path in [
            "/",
            "*",
            "",
            "/administrator",
            "/admin2",
            "/admin-panel",
            "/admin_x",
            "/admi",
            "/x/admin",
            "/x.admin",
            "/wp-admin",
            "/caf%C3%A9",
            "/admin\u{e9}",
            "/x/ADMIN/../y",
            "/100%/%4/%zz%",
        ] {
            assert!(!resembles(path, "/admin"), "{path}");
        }
        assert!(!resembles("/api", "/api/users"));
        assert!(!resembles("/api/x/users", "/api/users"));
    }

    #[test]
    fn only_long_paths_with_escapes_are_too_long() {
        let long = "/a".repeat(MAX_PATH_BYTES);
        assert!(!is_too_long(&long) && !is_too_long("/a%20"));
        assert!(is_too_long(&format!("{long}%20")));
    }
}
