//! The patterns of rules: paths and user agents.

use std::fmt;

/// Longer patterns are mistakes.
const LONGEST: usize = 200;
/// So much of a user agent is looked at.
const AGENT: usize = 1024;

/// A path as it stands, or everything below one: `/app/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    /// With its last slash when it is a prefix.
    text: Box<str>,
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
    /// Compared byte by byte, so written as clients send it, percent-encoded where need be.
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
        if climbs(text) {
            return fail("'.' and '..' are resolved by clients and never arrive");
        }
        Ok(Self { text: text.into(), prefix })
    }

    /// Whether the path is meant. One that climbs (`/app/../admin`) is below nothing.
    pub fn fits(&self, path: &str) -> bool {
        if self.prefix {
            path.starts_with(&*self.text) && !climbs(&path[self.text.len()..])
        } else {
            path == &*self.text
        }
    }

    /// Whether this path is meant by name.
    pub fn is_exactly(&self, path: &str) -> bool {
        !self.prefix && path == &*self.text
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.prefix { "*" } else { "" })
    }
}

/// A path with a segment that some servers take for `.` or `..`.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let mut rest = segment.as_bytes();
        let mut dots = 0;
        loop {
            rest = match rest {
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                rest => return rest.is_empty() && (1..=2).contains(&dots),
            };
            dots += 1;
        }
    })
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
