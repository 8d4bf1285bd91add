//! The patterns of rules, for paths and user agents.

use std::fmt;

use crate::path::{has_dots, interpretations, normalise};

/// Maximum bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 200;
/// Bytes of a user agent that are compared; the rest is ignored.
const MAX_AGENT_BYTES: usize = 1024;

/// A path, or with a final `*` every path below one: `/app/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    /// The pattern as written, without the star.
    text: Box<str>,
    /// The pattern in normal form; a prefix with its final slash.
    normal: Box<str>,
    prefix: bool,
}

/// A user agent with `*` for any sequence of characters; case is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentGlob {
    text: Box<str>,
    lower: Box<[u8]>,
}

/// An invalid pattern, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {reason}")]
pub struct InvalidGlob {
    pattern: String,
    reason: &'static str,
}

// === impl PathGlob ===

impl PathGlob {
    /// Parses `/app` (this path only) or `/app/*` (every path below it: not `/app`, but `/app/`).
    /// Compared in normal form like routes: characters that need percent-encoding in a request need
    /// it here.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let fail = |reason| Err(InvalidGlob::new(pattern, reason));
        if !pattern.starts_with('/') {
            return fail("it must begin with '/'");
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            return fail("it is longer than 200 characters");
        }
        if pattern.contains(['?', '#']) {
            return fail("a path has no query and no fragment");
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
        if interpretations(text).nth(1).is_some() {
            return fail("some servers interpret it as another path, so no request matches it");
        }
        Ok(Self { text: text.into(), normal: (&*normalise(text)).into(), prefix })
    }

    /// Returns whether the pattern matches every interpretation of the path: `/app/../admin` and
    /// `/app/..%2Fadmin` are not below `/app`.
    pub fn matches(&self, path: &str) -> bool {
        interpretations(path).all(|path| {
            if self.prefix { path.starts_with(&*self.normal) } else { *path == *self.normal }
        })
    }

    /// Returns whether the pattern is exactly this path, without a star.
    pub fn is_exactly(&self, path: &str) -> bool {
        !self.prefix && self.matches(path)
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
    /// Parses a pattern such as `curl/*` or `*Uptime*`. Without `*` it matches the whole user agent.
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        let fail = |reason| Err(InvalidGlob::new(pattern, reason));
        if pattern.is_empty() {
            return fail("it is empty; '*' matches every user agent");
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            return fail("it is longer than 200 characters");
        }
        if !pattern.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return fail("it contains a character that no user agent contains");
        }
        Ok(Self { text: pattern.into(), lower: pattern.to_ascii_lowercase().as_bytes().into() })
    }

    /// Returns whether the user agent matches. Only its first kilobyte is compared.
    pub fn matches(&self, agent: &[u8]) -> bool {
        let (pattern, agent) = (&*self.lower, &agent[..agent.len().min(MAX_AGENT_BYTES)]);
        let (mut p, mut a) = (0, 0);
        // The position after the last star, and the position in the agent to resume from when the
        // part after the star does not match.
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
        Self { pattern: pattern.chars().take(MAX_PATTERN_BYTES + 1).collect(), reason }
    }
}

#[cfg(test)]
mod tests;
