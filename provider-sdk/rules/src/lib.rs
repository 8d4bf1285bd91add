//! Rules of an endpoint's grant: pure, without I/O. The router and the SDK's test harness share
//! this code.
//!
//! A [`Rule`] for HTTP is `METHOD /path`, `METHOD /path?query` or `METHOD+body /path`.
//!
//! - One method, or `*` for all but those that no rule allows (see [`is_method`]).
//! - A segment `*` matches exactly one segment, a final `**` any rest, also an empty one.
//! - Without `?` the request must have no query. `?*` allows any query.
//!   `?all=1&limit=*&path=/vms/*` allows these keys, each at most once, in any order: a value is
//!   literal text, `*` is any value, and text with a trailing `*` is any value with that prefix.
//! - Without `+body` the request must have no body: the effect of a path may depend on it.
//!
//! Rules are plain text; requests are decoded before they are compared. A request's path is first
//! parsed to a [`NormalizedPath`], which exists only for paths with a single interpretation; any
//! other path is refused before the rules are checked. A query with several interpretations is
//! allowed only by `?*`.
//!
//! A rule for gRPC is `/package.Service/Method` or `/package.Service/*`. No rule allows both kinds:
//! to the rules a gRPC call is not an HTTP request, although it is one on the wire.

#![forbid(unsafe_code)]

mod headers;
mod mask;
mod path;
mod query;

use std::{fmt, str::FromStr};

use self::query::QueryPattern;
pub use self::{
    headers::{HEADERS, is_allowed_header, is_allowed_metadata, metadata_prefix},
    mask::{MASK, masked_parts, masked_url},
    path::{InvalidPath, NormalizedPath},
    query::{InvalidQuery, RequestQuery},
};

/// Maximum length of a path with query, in bytes.
const PATH_BYTES: usize = 8 << 10;

/// One allowed kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    verb: Verb,
    /// The request may have a body.
    body: bool,
    segments: Vec<Pattern>,
    /// Ends in `**`.
    rest: bool,
    query: QueryPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    /// Every HTTP method.
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

/// An invalid rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is not a rule: {flaw}; write for instance \"POST /containers/*/start\"")]
pub struct InvalidRule {
    rule: String,
    flaw: &'static str,
}

// === impl Rule ===

impl Rule {
    /// Returns whether a request is allowed.
    pub fn allows(&self, method: &str, path: &NormalizedPath, body: bool) -> bool {
        let verb_matches = match &self.verb {
            Verb::Any => true,
            Verb::Call => false,
            Verb::Method(own) => own == method,
        };
        let length_matches = match path.segments.len().checked_sub(self.segments.len()) {
            Some(0) => true,
            Some(_) => self.rest,
            None => false,
        };
        verb_matches
            && is_method(method)
            && length_matches
            && (self.body || !body)
            && self.query.allows(&path.query)
            && self.segments.iter().zip(&path.segments).all(|(pattern, segment)| match pattern {
                Pattern::Any => true,
                Pattern::Literal(literal) => literal == segment,
            })
    }

    /// Returns whether a gRPC call of this method, `/package.Service/Method`, is allowed.
    pub fn allows_call(&self, method: &str) -> bool {
        let length_matches = |[service, method]: [&str; 2]| match self.segments.as_slice() {
            [Pattern::Literal(own), Pattern::Any] => own == service,
            [Pattern::Literal(own), Pattern::Literal(only)] => own == service && only == method,
            _ => false,
        };
        self.verb == Verb::Call && call(method).is_some_and(length_matches)
    }

    /// Returns whether it ends in `?*`.
    pub fn allows_any_query(&self) -> bool {
        self.query == QueryPattern::Any
    }

    /// Returns whether this rule allows every request that the other one allows.
    pub fn covers(&self, other: &Self) -> bool {
        let verb_matches = match &self.verb {
            Verb::Any => other.verb != Verb::Call,
            own => *own == other.verb,
        };
        let length_matches = match other.segments.len().checked_sub(self.segments.len()) {
            Some(0) => self.rest || !other.rest,
            Some(_) => self.rest,
            None => false,
        };
        verb_matches
            && length_matches
            && (self.body || !other.body)
            && self.query.covers(&other.query)
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(own, other)| *own == Pattern::Any || own == other)
    }

    /// The rule for this request, generalized over the name of a target, an id or a number. None if
    /// no rule can allow it specifically.
    pub fn suggest(
        method: &str,
        path: &NormalizedPath,
        body: bool,
        target: Option<&str>,
    ) -> Option<Self> {
        let mut segments = Vec::with_capacity(path.segments.len());
        for (index, segment) in path.segments.iter().enumerate() {
            let collection = index > 0 && path.segments[index - 1].ends_with('s');
            let one_of_many = collection && index + 1 < path.segments.len();
            let is_variable = Some(segment.as_str()) == target || one_of_many || is_id(segment);
            segments.push(if is_variable {
                Pattern::Any
            } else {
                Pattern::Literal(segment.clone())
            });
        }
        let verb = Verb::Method(method.to_owned());
        let query = QueryPattern::suggest(&path.query, target)?;
        let rule = Self { verb, body, segments, rest: false, query };
        // Some texts have another meaning in the syntax of rules.
        (rule.to_string().parse().as_ref() == Ok(&rule)).then_some(rule)
    }

    /// Parses `/package.Service/Method` or `/package.Service/*`.
    fn of_calls(rule: &str) -> Option<Self> {
        let (service, method) = match rule.strip_suffix("/*") {
            Some(service) => (service.strip_prefix('/')?, Pattern::Any),
            None => {
                let [service, method] = call(rule)?;
                (service, Pattern::Literal(method.to_owned()))
            }
        };
        let segments = vec![Pattern::Literal(service.to_owned()), method];
        is_service(service).then_some(Self {
            verb: Verb::Call,
            body: false,
            segments,
            rest: false,
            query: QueryPattern::None,
        })
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
            _ => {
                return Err(fail(
                    "the method is not one upper-case word or `*`, or it is one that no rule allows",
                ));
            }
        };
        let path = path.strip_prefix('/').ok_or_else(|| fail("the path must begin with `/`"))?;
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, query.parse().map_err(fail)?),
            None => (path, QueryPattern::None),
        };
        let mut words: Vec<&str> =
            if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let rest = words.last() == Some(&"**");
        if rest {
            words.pop();
        }
        let segments = words.into_iter().map(pattern).collect::<Result<_, _>>().map_err(fail)?;
        Ok(Self { verb, body, segments, rest, query })
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
            (true, _) => f.write_str("/**")?,
            (false, true) => f.write_str("/")?,
            (false, false) => {}
        }
        self.query.fmt(f)
    }
}

fn pattern(word: &str) -> Result<Pattern, &'static str> {
    match word {
        "" => Err("it has an empty segment"),
        "." | ".." => Err("it has a dot segment"),
        "*" => Ok(Pattern::Any),
        _ if word.contains('*') => Err("a `*` stands alone in its segment, `**` only at the end"),
        _ if word.contains(['%', '\\', '?', '#']) || word.chars().any(char::is_control) => {
            Err("a segment is plain text, not percent-encoded")
        }
        _ => Ok(Pattern::Literal(word.to_owned())),
    }
}

/// An id, a number or a version. A host name is none, even with digits: a rule with `*` in its
/// place would send credentials to any host.
fn is_id(segment: &str) -> bool {
    let version = segment
        .strip_prefix('v')
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    segment.bytes().any(|byte| byte.is_ascii_digit()) && (version || !segment.contains(['.', ':']))
}

/// Methods that no rule allows: `CONNECT` opens a tunnel past every rule, and the response to
/// `TRACE`, or its older name `TRACK`, repeats the request with the router's credentials.
const REFUSED_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// Whether this is an HTTP method that a provider may send: upper case, and none of `CONNECT`,
/// `TRACE` and `TRACK`.
pub fn is_method(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 32
        && !REFUSED_METHODS.contains(&word)
        && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_')
}

/// Service and method of `/package.Service/Method`. None for anything else: names consist of
/// letters, digits and `_`, and a service has a package.
pub fn call(path: &str) -> Option<[&str; 2]> {
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

#[cfg(test)]
mod tests;
