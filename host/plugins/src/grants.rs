//! The rules of an endpoint's grant: pure, without I/O.
//!
//! A [`Rule`] for HTTP is `METHOD /path` or `METHOD+body /path`: one method or `*`, a segment `*` for
//! exactly one segment, a final `**` for any rest, also none. Without `+body` the request must be
//! empty: what a path does may depend on it. A request's path becomes a [`CleanPath`] first, which
//! only exists when the path can be read in one way; what cannot is refused before any rule is
//! looked at.
//!
//! A rule for gRPC is `/package.Service/Method` or `/package.Service/*`. No rule allows both kinds:
//! a gRPC call is no HTTP request to the rules, though it is one on the wire.

mod policy;

use std::{fmt, str::FromStr};

pub use self::policy::{Asked, Called, Policy, RulesOrigin, line_to_add};

/// Longest path with query that a provider may send.
const PATH_BYTES: usize = 8 << 10;

/// Where the configuration of a network may be.
pub const USUAL_NETWORK: &str = "/etc/cni/net.d/10-drowse.conflist";

/// One allowed kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    verb: Verb,
    /// The request may have a body.
    body: bool,
    segments: Vec<Pattern>,
    /// Ends in `**`.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    /// Every method of HTTP.
    Any,
    /// A gRPC call: its path is service and method.
    Call,
    Method(String),
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

// === impl Rule ===

impl Rule {
    /// Whether a request passes.
    pub fn allows(&self, method: &str, path: &CleanPath, body: bool) -> bool {
        let spoken = match &self.verb {
            Verb::Any => true,
            Verb::Call => false,
            Verb::Method(own) => own == method,
        };
        let fits = match path.segments.len().checked_sub(self.segments.len()) {
            Some(0) => true,
            Some(_) => self.rest,
            None => false,
        };
        spoken
            && fits
            && (self.body || !body)
            && self.segments.iter().zip(&path.segments).all(|(pattern, segment)| match pattern {
                Pattern::Any => true,
                Pattern::Literal(literal) => literal == segment,
            })
    }

    /// Whether a gRPC call of this method, `/package.Service/Method`, passes.
    pub fn allows_call(&self, method: &str) -> bool {
        let fits = |[service, method]: [&str; 2]| match self.segments.as_slice() {
            [Pattern::Literal(own), Pattern::Any] => own == service,
            [Pattern::Literal(own), Pattern::Literal(only)] => own == service && only == method,
            _ => false,
        };
        self.verb == Verb::Call && call(method).is_some_and(fits)
    }

    /// Whether everything passes here that passes there.
    pub fn covers(&self, other: &Self) -> bool {
        let spoken = match &self.verb {
            Verb::Any => other.verb != Verb::Call,
            own => *own == other.verb,
        };
        let fits = match other.segments.len().checked_sub(self.segments.len()) {
            Some(0) => self.rest || !other.rest,
            Some(_) => self.rest,
            None => false,
        };
        spoken
            && fits
            && (self.body || !other.body)
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(own, other)| *own == Pattern::Any || own == other)
    }

    /// `/package.Service/Method` or `/package.Service/*`
    fn of_calls(rule: &str) -> Option<Self> {
        let (service, method) = match rule.strip_suffix("/*") {
            Some(service) => (service.strip_prefix('/')?, Pattern::Any),
            None => {
                let [service, method] = call(rule)?;
                (service, Pattern::Literal(method.to_owned()))
            }
        };
        let segments = vec![Pattern::Literal(service.to_owned()), method];
        is_service(service).then_some(Self { verb: Verb::Call, body: false, segments, rest: false })
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(rule: &str) -> Result<Self, InvalidRule> {
        let fail = |flaw| InvalidRule { rule: rule.chars().take(200).collect(), flaw };
        if rule.starts_with('/') {
            return Self::of_calls(rule).ok_or_else(|| {
                fail(
                    "one for HTTP begins with its method, and one for gRPC is \
                     \"/package.Service/Method\" or \"/package.Service/*\"",
                )
            });
        }
        let (method, path) = rule.split_once(' ').ok_or_else(|| fail("it has no method"))?;
        let (method, body) = match method.strip_suffix("+body") {
            Some(method) => (method, true),
            None => (method, false),
        };
        let verb = match method {
            "*" => Verb::Any,
            word if is_method(word) => Verb::Method(word.to_owned()),
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
        Ok(Self { verb, body, segments, rest })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.body { "+body" } else { "" };
        match &self.verb {
            Verb::Any => write!(f, "*{body} ")?,
            Verb::Call => {}
            Verb::Method(method) => write!(f, "{method}{body} ")?,
        }
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

/// Service and method of `/package.Service/Method`. None for anything else: names are letters,
/// digits and `_`, and a service has a package.
fn call(path: &str) -> Option<[&str; 2]> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (path.len() <= PATH_BYTES && is_service(service) && is_identifier(method))
        .then_some([service, method])
}

fn is_service(service: &str) -> bool {
    service.contains('.') && service.split('.').all(is_identifier)
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
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

/// The line of a provider's table that grants a network, with a usual place of its configuration.
pub fn network_line(name: &str) -> String {
    format!("network.{} = {{ config = {} }}", toml_key(name), toml_string(USUAL_NETWORK))
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
