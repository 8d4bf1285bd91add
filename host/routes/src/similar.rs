//! Paths that a backend may take for a protected one although they are written differently.
//!
//! A router compares paths with case and extension, as RFC 3986 has it. Many backends do not: for
//! some of them `/ADMIN`, `/admin.json`, `/admin%20` or `/%2561dmin` is `/admin`.

use std::borrow::Cow;

use crate::path::readings;

/// A path with escapes that is longer than this resembles everything: comparing it is too much
/// work.
const LONGEST: usize = 4096;
/// Times that a path is decoded at most. Servers behind servers decode it twice.
const ROUNDS: usize = 8;

/// A path's segments as the most careless backend compares them: decoded, without case and without
/// the blanks around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(Vec<String>);

/// Whether `found` is true of any way in which a backend may read the path.
pub(crate) fn any_reading(path: &str, mut found: impl FnMut(&Names) -> bool) -> bool {
    for reading in readings(path) {
        let mut text = reading;
        for _ in 0..=ROUNDS {
            if found(&Names::new(&text, false))
                || (text.contains(';') && found(&Names::new(&text, true)))
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

/// There is too much to compare.
pub(crate) fn is_too_long(path: &str) -> bool {
    path.len() > LONGEST && path.contains(['%', ';', '\\'])
}

/// Decodes every escape, `%u0041` included. None when there is none.
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

/// Without case, and with full-width forms as the characters that they stand for.
fn fold(character: char) -> impl Iterator<Item = char> {
    let plain = match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    };
    // Upper case first: a long s and a dotless i have no lower case of their own.
    plain.to_uppercase().flat_map(char::to_lowercase)
}

// === impl Names ===

impl Names {
    /// Those of a prefix as it is compared.
    pub(crate) fn of_prefix(path: &str) -> Self {
        let decoded = decode(path);
        Self::new(decoded.as_deref().unwrap_or(path), false)
    }

    /// The path's segments with dots resolved; each up to its first `;` if `cut` is set.
    fn new(path: &str, cut: bool) -> Self {
        let mut names: Vec<String> = Vec::new();
        for segment in path.split(['/', '\\']) {
            let segment = match segment.split_once(';') {
                Some((name, _)) if cut => name,
                _ => segment,
            };
            match segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name.chars().flat_map(fold).collect()),
            }
        }
        Self(names)
    }

    /// These begin with segments that some backend takes for those of the prefix: after each name
    /// may come what begins with a sign, such as an extension.
    pub(crate) fn resemble(&self, prefix: &Self) -> bool {
        let same = |(name, wanted): (&String, &String)| {
            let sign = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_');
            name.strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.chars().next().is_none_or(sign))
        };
        self.0.len() >= prefix.0.len() && self.0.iter().zip(&prefix.0).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resembles(path: &str, prefix: &str) -> bool {
        let prefix = Names::of_prefix(prefix);
        any_reading(path, |names| names.resemble(&prefix))
    }

    #[test]
    fn what_some_backend_takes_for_the_path_resembles_it() {
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
    fn other_paths_do_not() {
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
        let long = "/a".repeat(LONGEST);
        assert!(!is_too_long(&long) && !is_too_long("/a%20"));
        assert!(is_too_long(&format!("{long}%20")));
    }
}
