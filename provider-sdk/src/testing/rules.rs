//! The rules of an endpoint's grant, as `wit/v0.1/host.wit` describes them, and what else the host
//! looks at in a request. What the host says of the cases in `cases.txt` is said here, too.

/// Longest path with query.
const PATH_BYTES: usize = 8 << 10;

/// Headers that a provider may set.
const HEADERS: [&str; 15] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "user-agent",
];

/// Whether `rule` allows this request.
pub(super) fn allows(rule: &str, method: &str, path: &str, body: bool) -> bool {
    let Some((wanted, pattern)) = rule.split_once(' ') else { return false };
    let (wanted, may_have_body) = match wanted.strip_suffix("+body") {
        Some(wanted) => (wanted, true),
        None => (wanted, false),
    };
    if (body && !may_have_body) || !is_method(method) || (wanted != "*" && wanted != method) {
        return false;
    }
    let Some(segments) = segments(path) else { return false };
    let mut segments = segments.iter();
    let mut patterns = pattern.split('/').skip(1).filter(|it| !it.is_empty()).peekable();
    loop {
        match (patterns.next(), segments.next()) {
            (Some("**"), _) if patterns.peek().is_none() => return true,
            (Some("*"), Some(_)) => {}
            (Some(pattern), Some(segment)) if pattern == segment => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether `rule` allows this gRPC call, `/package.Service/Method`.
pub(super) fn allows_call(rule: &str, method: &str) -> bool {
    is_call(method)
        && match rule.strip_suffix("/*") {
            Some(service) => method.rsplit_once('/').is_some_and(|(called, _)| called == service),
            None => rule == method,
        }
}

/// Whether a provider may send this metadata with a call.
pub(super) fn is_allowed_metadata(method: &str, name: &str) -> bool {
    let service = method.trim_start_matches('/').split('.').next().unwrap_or_default();
    let own = format!("{}-", service.to_ascii_lowercase());
    name.starts_with(&own) && own != "grpc-" && !name.ends_with("-bin")
}

/// `/package.Service/Method`
fn is_call(method: &str) -> bool {
    let identifier = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let parts = method.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(service, method)| {
        service.contains('.') && service.split('.').all(identifier) && identifier(method)
    })
}

/// Whether a provider may set this header.
pub(super) fn is_allowed_header(name: &str) -> bool {
    HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// What is wrong with a rule, if anything.
pub(super) fn mistake(rule: &str) -> Option<&'static str> {
    if rule.starts_with('/') {
        let any = rule.strip_suffix("/*").map(|service| format!("{service}/method"));
        let fits = is_call(any.as_deref().unwrap_or(rule));
        return (!fits).then_some("a rule for gRPC is `/package.Service/Method`, or with `*`");
    }
    let Some((method, path)) = rule.split_once(' ') else {
        return Some("a rule is `METHOD /path` or `METHOD+body /path`");
    };
    let method = method.strip_suffix("+body").unwrap_or(method);
    if method != "*" && !is_method(method) {
        return Some("the method is upper case and opens no tunnel, or `*`");
    }
    let Some(path) = path.strip_prefix('/') else { return Some("the path begins with `/`") };
    let segments: Vec<&str> = path.split('/').collect();
    let last = segments.len() - 1;
    for (index, segment) in segments.iter().enumerate() {
        match *segment {
            "" if last > 0 => return Some("a path has no empty segments"),
            "." | ".." => return Some("a path has no dot segments"),
            "**" if index != last => return Some("`**` stands at the end only"),
            "*" | "**" => {}
            segment if segment.contains('*') => return Some("`*` is a whole segment"),
            segment
                if segment.contains(['?', '#', '\\', '%'])
                    || segment.chars().any(char::is_control) =>
            {
                return Some("a rule's path is plain, without query or encoding");
            }
            _ => {}
        }
    }
    None
}

fn is_method(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_';
    (1..=32).contains(&word.len()) && word != "CONNECT" && word.bytes().all(letter)
}

/// The decoded segments of a path that can be read in one way only.
fn segments(path_and_query: &str) -> Option<Vec<String>> {
    let raw = |byte: u8| {
        matches!(byte, b' ' | b'"' | b'#' | b'<' | b'>' | 0x80..) || byte.is_ascii_control()
    };
    if path_and_query.len() > PATH_BYTES || path_and_query.bytes().any(raw) {
        return None;
    }
    let path = path_and_query.split('?').next()?.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => return None,
            b'%' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                match high << 4 | low {
                    b'/' | b'.' | b'\\' => return None,
                    byte if byte.is_ascii_control() => return None,
                    byte => byte,
                }
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    let escape = |part: &[u8]| part[0] == b'%' && part[1..].iter().all(u8::is_ascii_hexdigit);
    if decoded.is_empty() || decoded.windows(3).any(escape) {
        return None;
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (!matches!(decoded.split(';').next(), Some("." | ".."))).then_some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
