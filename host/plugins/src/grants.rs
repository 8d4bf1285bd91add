//! The rules of an endpoint's grant: pure, without I/O.
//!
//! A [`Rule`] is `METHOD /path` or `METHOD+body /path`: one method or `*`, a segment `*` for exactly
//! one segment, a final `**` for any rest, also none. Without `+body` the request must be empty:
//! what a path does may depend on it. A request's path becomes a [`CleanPath`] first, which only
//! exists when the path can be read in one way; what cannot is refused before any rule is looked at.

use std::{fmt, str::FromStr};

/// Longest path with query that a provider may send.
const PATH_BYTES: usize = 8 << 10;

/// One allowed kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Any method when absent.
    method: Option<String>,
    /// The request may have a body.
    body: bool,
    segments: Vec<Pattern>,
    /// Ends in `**`.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Literal(String),
}

/// A rule that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is not a rule: {flaw}; write for instance \"POST /containers/*/start\"")]
pub struct InvalidRule {
    rule: String,
    flaw: &'static str,
}

/// A path that can be read in one way only, split into decoded segments. The query is not part
/// of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath {
    segments: Vec<String>,
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
    /// A character that must be percent-encoded, or a fragment.
    #[error("it contains a character that must be percent-encoded")]
    Raw,
    /// Longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
}

/// The rules of one endpoint, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    origin: RulesOrigin,
}

/// Who wrote the rules of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesOrigin {
    /// The operator, in the grant.
    Granted,
    /// The plugin, in what it says it needs; the grant has no rules of its own.
    Wished,
    /// Nobody: the grant has none and the plugin does not name this endpoint.
    Nobody,
}

/// What a request must be compared with, and whom to name when it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The configured provider.
    pub provider: &'a str,
    /// The granted name.
    pub endpoint: &'a str,
    /// Upper case.
    pub method: &'a str,
    /// Path and query as the provider wrote them.
    pub path: &'a str,
    /// It has a body.
    pub body: bool,
    /// The target the call is about: a segment equal to it becomes `*` in the advice.
    pub target: Option<&'a str>,
}

// === impl Rule ===

impl Rule {
    /// Whether a request passes.
    pub fn allows(&self, method: &str, path: &CleanPath, body: bool) -> bool {
        let fits = match path.segments.len().checked_sub(self.segments.len()) {
            Some(0) => true,
            Some(_) => self.rest,
            None => false,
        };
        fits && (self.body || !body)
            && self.method.as_deref().is_none_or(|own| own == method)
            && self.segments.iter().zip(&path.segments).all(|(pattern, segment)| match pattern {
                Pattern::Any => true,
                Pattern::Literal(literal) => literal == segment,
            })
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(rule: &str) -> Result<Self, InvalidRule> {
        let fail = |flaw| InvalidRule { rule: rule.chars().take(200).collect(), flaw };
        let (method, path) = rule.split_once(' ').ok_or_else(|| fail("it has no method"))?;
        let (method, body) = match method.strip_suffix("+body") {
            Some(method) => (method, true),
            None => (method, false),
        };
        let method = match method {
            "*" => None,
            word if is_method(word) => Some(word.to_owned()),
            _ => return Err(fail("the method is not one upper-case word or `*`")),
        };
        let path = path.strip_prefix('/').ok_or_else(|| fail("the path must begin with `/`"))?;
        let mut words: Vec<&str> =
            if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let rest = words.last() == Some(&"**");
        if rest {
            words.pop();
        }
        let segments = words.into_iter().map(pattern).collect::<Result<_, _>>().map_err(fail)?;
        Ok(Self { method, body, segments, rest })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.body { "+body" } else { "" };
        write!(f, "{}{body} ", self.method.as_deref().unwrap_or("*"))?;
        for segment in &self.segments {
            match segment {
                Pattern::Any => f.write_str("/*")?,
                Pattern::Literal(literal) => write!(f, "/{literal}")?,
            }
        }
        match (self.rest, self.segments.is_empty()) {
            (true, _) => f.write_str("/**"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

fn pattern(word: &str) -> Result<Pattern, &'static str> {
    match word {
        "" => Err("it has an empty segment"),
        "." | ".." => Err("it has a dot segment"),
        "*" => Ok(Pattern::Any),
        _ if word.contains('*') => Err("a `*` stands alone in its segment, `**` only at the end"),
        _ if word.contains(['%', '\\', '?', '#']) || word.chars().any(char::is_control) => {
            Err("a segment is plain text, not percent-encoded and without a query")
        }
        _ => Ok(Pattern::Literal(word.to_owned())),
    }
}

/// Whether this is an HTTP method that a provider may send: upper case, and not `CONNECT`, which
/// would open a tunnel past every rule.
pub fn is_method(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 32
        && word != "CONNECT"
        && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_')
}

// === impl CleanPath ===

impl CleanPath {
    /// Reads path and query as a provider wrote them.
    pub fn parse(path_and_query: &str) -> Result<Self, PathFlaw> {
        if path_and_query.len() > PATH_BYTES {
            return Err(PathFlaw::TooLong);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, query),
            None => (path_and_query, ""),
        };
        let path = path.strip_prefix('/').ok_or(PathFlaw::NoSlash)?;
        path.bytes().chain(query.bytes()).try_for_each(plain)?;
        if path.contains('\\') {
            return Err(PathFlaw::Backslash);
        }
        if path.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { segments })
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
    // Some servers cut parameters off before they resolve dots: `..;x` is `..` to them.
    let name = decoded.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") {
        return Err(PathFlaw::DotSegment);
    }
    // An escape that survives decoding would be decoded by whoever decodes twice.
    if decoded
        .as_bytes()
        .windows(3)
        .any(|w| w[0] == b'%' && hex(w[1]).is_some() && hex(w[2]).is_some())
    {
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

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

// === impl Policy ===

impl Policy {
    /// The policy of an endpoint: the operator's rules, else the plugin's own wishes for it.
    pub fn new(granted: Option<Vec<Rule>>, wished: Option<Vec<Rule>>) -> Self {
        match (granted, wished) {
            (Some(rules), _) => Self { rules, origin: RulesOrigin::Granted },
            (None, Some(rules)) => Self { rules, origin: RulesOrigin::Wished },
            (None, None) => Self { rules: Vec::new(), origin: RulesOrigin::Nobody },
        }
    }

    /// Lets a request pass, or says why not and which line to add.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), String> {
        let Asked { provider, endpoint, method, path, body, .. } = *asked;
        let refused = |why: &dyn fmt::Display| {
            let path = shown(path);
            format!(
                "provider {provider:?}: {method} {path} on endpoint {endpoint:?} is refused: {why}"
            )
        };
        if !is_method(method) {
            let method = shown(method);
            return Err(format!(
                "provider {provider:?}: method {method} on endpoint {endpoint:?} is refused: \
                 it is not one upper-case word, or it opens a tunnel"
            ));
        }
        let clean = CleanPath::parse(path).map_err(|flaw| refused(&flaw))?;
        if self.rules.iter().any(|rule| rule.allows(method, &clean, body)) {
            return Ok(());
        }
        Err(self.advice(asked, &clean))
    }

    fn advice(&self, asked: &Asked<'_>, clean: &CleanPath) -> String {
        let Asked { provider, endpoint, method, path, body, .. } = *asked;
        let path = shown(path.split('?').next().unwrap_or_default());
        let table = format!("[provider.{}]", toml_key(provider));
        let key = format!("endpoint.{}.rules", toml_key(endpoint));
        let method = if body { format!("{method} with a body") } else { method.to_owned() };
        let Some(rule) = suggestion(asked, clean) else {
            return format!(
                "provider {provider:?}: {method} {path} is not granted on endpoint {endpoint:?}, \
                 and no rule can name this path alone"
            );
        };
        let rule = toml_string(&rule);
        match self.origin {
            RulesOrigin::Granted => format!(
                "provider {provider:?}: {method} {path} is not granted on endpoint {endpoint:?}: \
                 add to {table}: {key} = [..., {rule}]"
            ),
            RulesOrigin::Wished => format!(
                "provider {provider:?}: {method} {path} is not granted on endpoint {endpoint:?} and \
                 not among the rules that the plugin asks for: add to {table}: {key} = [..., {rule}] \
                 (with the rules that `drowse plugin inspect` shows in place of the dots)"
            ),
            RulesOrigin::Nobody => format!(
                "provider {provider:?}: {method} {path} is not granted: endpoint {endpoint:?} has no \
                 rules and the plugin does not say what it needs there: add to {table}: {key} = [{rule}]"
            ),
        }
    }
}

/// The rule that would let this request and its like pass: what names one thing becomes `*`. None
/// where a segment, written as a rule, would mean something else.
fn suggestion(asked: &Asked<'_>, clean: &CleanPath) -> Option<String> {
    let Asked { method, target, body, .. } = *asked;
    let mut rule = format!("{method}{} ", if body { "+body" } else { "" });
    let count = clean.segments.len();
    for (index, segment) in clean.segments.iter().enumerate() {
        let collection = index > 0 && clean.segments[index - 1].ends_with('s');
        let one_of_many = collection && index + 1 < count;
        let number = segment.bytes().any(|b| b.is_ascii_digit());
        let wild = Some(segment.as_str()) == target || one_of_many || number;
        if !wild && !matches!(pattern(segment), Ok(Pattern::Literal(_))) {
            return None;
        }
        rule.push('/');
        rule.push_str(if wild { "*" } else { segment });
    }
    if count == 0 {
        rule.push('/');
    }
    Some(rule)
}

/// A provider's text made fit for a message: one line, not too long.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// A name as a key in TOML.
pub fn toml_key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { toml_string(name) }
}

/// A text as a string in TOML.
pub fn toml_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
