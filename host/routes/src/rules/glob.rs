//! The patterns of rules: paths and user agents.

use std::fmt;

use crate::path::{has_dots, normalise, readings};

/// Longer patterns are mistakes.
const LONGEST: usize = 200;
/// So much of a user agent is looked at.
const AGENT: usize = 1024;

/// A path as it stands, or everything below one: `/app/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    /// As it was written, without the star.
    text: Box<str>,
    /// As it is compared, with its last slash when it is a prefix.
    form: Box<str>,
    prefix: bool,
}

/// A user agent with `*` for any run of characters; case makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentGlob {
    text: Box<str>,
    lower: Box<[u8]>,
}

/// A pattern that cannot be used, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {reason}")]
pub struct InvalidGlob {
    pattern: String,
    reason: &'static str,
}

// === impl PathGlob ===

impl PathGlob {
    /// Reads `/app` (this path alone) or `/app/*` (every path below it; not `/app`, but `/app/`).
    /// Compared as routes' paths are: what needs percent-encoding in a request needs it here.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let fail = |reason| Err(InvalidGlob::new(pattern, reason));
        if !pattern.starts_with('/') {
            return fail("it must begin with '/'");
        }
        if pattern.len() > LONGEST {
            return fail("it is longer than 200 characters");
        }
        if pattern.contains(['?', '#']) {
            return fail("a query or fragment is no part of a path");
        }
        if !pattern.bytes().all(|b| b.is_ascii_graphic()) {
            return fail("blanks and characters outside ASCII must be percent-encoded");
        }
        let (text, prefix) = match pattern.strip_suffix('*') {
            Some(text) if text.ends_with('/') => (text, true),
            Some(_) => return fail("'*' stands for whole segments at the end, as in '/app/*'"),
            None => (pattern, false),
        };
        if text.contains('*') {
            return fail("'*' stands at the end alone, as in '/app/*'");
        }
        if text.contains("//") {
            return fail("it has an empty segment");
        }
        if has_dots(text) {
            return fail("'.' and '..' are resolved before paths are compared");
        }
        if readings(text).nth(1).is_some() {
            return fail("some servers read it as another path, so nothing is known to be meant");
        }
        Ok(Self { text: text.into(), form: (&*normalise(text)).into(), prefix })
    }

    /// Whether the path is meant, however servers read it: `/app/../admin` and `/app/..%2Fadmin`
    /// are not below `/app`.
    pub fn fits(&self, path: &str) -> bool {
        readings(path).all(|path| {
            if self.prefix { path.starts_with(&*self.form) } else { *path == *self.form }
        })
    }

    /// Whether this path is meant by name.
    pub fn is_exactly(&self, path: &str) -> bool {
        !self.prefix && self.fits(path)
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.prefix { "*" } else { "" })
    }
}

// === impl AgentGlob ===

impl AgentGlob {
    /// Reads a pattern such as `curl/*` or `*Uptime*`. Without `*` the whole user agent is meant.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let fail = |reason| Err(InvalidGlob::new(pattern, reason));
        if pattern.is_empty() {
            return fail("it is empty; '*' is every user agent");
        }
        if pattern.len() > LONGEST {
            return fail("it is longer than 200 characters");
        }
        if !pattern.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return fail("it holds what no user agent holds");
        }
        Ok(Self { text: pattern.into(), lower: pattern.to_ascii_lowercase().as_bytes().into() })
    }

    /// Whether the user agent is meant. What comes after its first kilobyte is not looked at.
    pub fn fits(&self, agent: &[u8]) -> bool {
        let (pattern, agent) = (&*self.lower, &agent[..agent.len().min(AGENT)]);
        let (mut p, mut a) = (0, 0);
        // Where to go on when what follows the last star does not fit.
        let mut star: Option<(usize, usize)> = None;
        while a < agent.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p + 1, a));
                    p += 1;
                }
                Some(&wanted) if wanted == agent[a].to_ascii_lowercase() => {
                    p += 1;
                    a += 1;
                }
                _ => {
                    let Some((after, from)) = star else { return false };
                    star = Some((after, from + 1));
                    p = after;
                    a = from + 1;
                }
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }
}

impl fmt::Display for AgentGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl InvalidGlob ===

impl InvalidGlob {
    fn new(pattern: &str, reason: &'static str) -> Self {
        Self { pattern: pattern.chars().take(LONGEST + 1).collect(), reason }
    }
}

#[cfg(test)]
mod tests;
