//! Queries of requests, and query patterns of rules.

use std::{fmt, str::FromStr};

use crate::path::{has_escape, hex};

/// The query of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestQuery {
    /// There is no `?`.
    None,
    /// Decoded keys and values, in the order of the request. Keys are unique.
    Pairs(Vec<(String, String)>),
    /// Servers may interpret it differently.
    Ambiguous(InvalidQuery),
}

/// Why servers may interpret a query differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// A control character, percent-encoded.
    #[error("it contains a control character")]
    Control,
    /// A repeated key: servers take the first value, the last, or both.
    #[error("a key is there twice")]
    DuplicateKey,
    /// Nothing follows the `?`.
    #[error("it is empty")]
    Empty,
    /// `&&`, `&` at an end, or `=value`.
    #[error("a key is empty")]
    EmptyKey,
    /// `%` without two hexadecimal digits, text that is not UTF-8, or an escape of an escape.
    #[error("its percent-encoding is ambiguous or broken")]
    Encoding,
    /// `+`, which is a space or a plus sign: write `%20` or `%2B`.
    #[error("it contains `+`: write %20 for a space, %2B for a plus sign")]
    Plus,
    /// A second `?`: write `%3F`.
    #[error("it contains a second `?`, which must be percent-encoded")]
    QuestionMark,
    /// `;`, which separates pairs on some servers: write `%3B`.
    #[error("it contains `;`, which must be percent-encoded")]
    Semicolon,
}

/// Query pattern of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryPattern {
    /// The request has no query.
    None,
    /// `?*`
    Any,
    /// These keys, each at most once. Each may be absent.
    Keys(Vec<(String, ValuePattern)>),
}

/// Pattern of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValuePattern {
    /// `*`
    Any,
    /// `text*`: values with this prefix and without dot segments.
    Prefix(String),
    Literal(String),
}

// === impl RequestQuery ===

impl RequestQuery {
    /// Parses the query after the `?`.
    pub(crate) fn parse(raw: &str) -> Self {
        match pairs(raw) {
            Ok(pairs) => Self::Pairs(pairs),
            Err(flaw) => Self::Ambiguous(flaw),
        }
    }
}

fn pairs(raw: &str) -> Result<Vec<(String, String)>, InvalidQuery> {
    if raw.is_empty() {
        return Err(InvalidQuery::Empty);
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in raw.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key)?, decode(value)?);
        if key.is_empty() {
            return Err(InvalidQuery::EmptyKey);
        }
        pairs.push((key, value));
    }
    // Some servers ignore the case of keys.
    let mut keys: Vec<String> = pairs.iter().map(|(key, _)| key.to_lowercase()).collect();
    keys.sort_unstable();
    match keys.windows(2).any(|two| two[0] == two[1]) {
        true => Err(InvalidQuery::DuplicateKey),
        false => Ok(pairs),
    }
}

fn decode(raw: &str) -> Result<String, InvalidQuery> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => return Err(InvalidQuery::Plus),
            b';' => return Err(InvalidQuery::Semicolon),
            b'?' => return Err(InvalidQuery::QuestionMark),
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or(InvalidQuery::Encoding)?;
                let low = bytes.next().and_then(hex).ok_or(InvalidQuery::Encoding)?;
                high << 4 | low
            }
            byte => byte,
        };
        if byte.is_ascii_control() {
            return Err(InvalidQuery::Control);
        }
        decoded.push(byte);
    }
    let decoded = String::from_utf8(decoded).map_err(|_| InvalidQuery::Encoding)?;
    if has_escape(&decoded) { Err(InvalidQuery::Encoding) } else { Ok(decoded) }
}

// === impl QueryPattern ===

impl QueryPattern {
    pub(crate) fn allows(&self, query: &RequestQuery) -> bool {
        match (self, query) {
            (Self::Any, _) | (_, RequestQuery::None) => true,
            (Self::None, _) | (_, RequestQuery::Ambiguous(_)) => false,
            (Self::Keys(_), RequestQuery::Pairs(pairs)) => pairs
                .iter()
                .all(|(key, value)| self.pattern(key).is_some_and(|it| it.matches(value))),
        }
    }

    /// Returns whether this pattern allows every query that the other one allows.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::None) => true,
            (_, Self::Any) | (Self::None, _) => false,
            (Self::Keys(_), Self::Keys(keys)) => keys
                .iter()
                .all(|(key, theirs)| self.pattern(key).is_some_and(|own| own.covers(theirs))),
        }
    }

    /// The pattern for this query. None if servers may interpret it differently.
    pub(crate) fn suggest(query: &RequestQuery, target: Option<&str>) -> Option<Self> {
        let pattern = |(key, value): &(String, String)| {
            let any = Some(value.as_str()) == target || is_number(value) || may_be_secret(key);
            let pattern =
                if any { ValuePattern::Any } else { ValuePattern::Literal(value.clone()) };
            (key.clone(), pattern)
        };
        match query {
            RequestQuery::None => Some(Self::None),
            RequestQuery::Pairs(pairs) => Some(Self::Keys(pairs.iter().map(pattern).collect())),
            RequestQuery::Ambiguous(_) => None,
        }
    }

    fn pattern(&self, wanted: &str) -> Option<&ValuePattern> {
        let Self::Keys(keys) = self else { return None };
        keys.iter().find(|(key, _)| key == wanted).map(|(_, pattern)| pattern)
    }
}

impl FromStr for QueryPattern {
    type Err = &'static str;

    /// Parses the query pattern after the `?` of a rule.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => return Err("nothing follows its `?`; a rule without `?` allows no query"),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let mut keys: Vec<(String, ValuePattern)> = Vec::new();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').ok_or(
                "a query in a rule is `key=value` or `key=*`, joined by `&`, or `*` for any query",
            )?;
            if key.is_empty() || key.contains('*') || !is_plain(key) {
                return Err("a key of a query is plain text, not percent-encoded and without `*`");
            }
            if keys.iter().any(|(other, _)| other.to_lowercase() == key.to_lowercase()) {
                return Err("a key is twice in its query");
            }
            keys.push((key.to_owned(), value.parse()?));
        }
        Ok(Self::Keys(keys))
    }
}

impl fmt::Display for QueryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Any => f.write_str("?*"),
            Self::Keys(keys) => {
                for (index, (key, pattern)) in keys.iter().enumerate() {
                    write!(f, "{}{key}={pattern}", if index == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
        }
    }
}

// === impl ValuePattern ===

impl ValuePattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => value.starts_with(prefix) && !has_dot_segment(value),
            Self::Literal(literal) => literal == value,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Prefix(own), Self::Prefix(theirs)) => theirs.starts_with(own),
            (own, Self::Literal(value)) => own.matches(value),
            _ => false,
        }
    }
}

impl FromStr for ValuePattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pattern, text): (fn(String) -> Self, _) = match text.strip_suffix('*') {
            Some("") => return Ok(Self::Any),
            Some(prefix) => (Self::Prefix, prefix),
            None => (Self::Literal, text),
        };
        if text.contains('*') {
            return Err("a `*` stands at the end of a value only");
        }
        if !is_plain(text) {
            return Err("a value is plain text, not percent-encoded");
        }
        Ok(pattern(text.to_owned()))
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Literal(literal) => f.write_str(literal),
        }
    }
}

/// Returns whether the text needs no escape in a rule's query.
fn is_plain(text: &str) -> bool {
    !text.contains(['%', '?', '#', '&']) && !text.chars().any(char::is_control)
}

/// Returns whether a server that takes the value for a path could leave the prefix.
fn has_dot_segment(value: &str) -> bool {
    value.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// A number of several digits: an amount or a time. A single digit is usually a switch.
fn is_number(value: &str) -> bool {
    value.len() > 1
        && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && value.matches('.').count() <= 1
}

/// Returns whether the value of this key may be secret and must not appear in messages.
fn may_be_secret(key: &str) -> bool {
    const WORDS: [&str; 8] =
        ["auth", "credential", "key", "pass", "secret", "session", "sig", "token"];
    let key = key.to_lowercase();
    key != "signal" && WORDS.iter().any(|word| key.contains(word))
}
