//! Host patterns of routes, and the comparison of hosts.

use std::{borrow::Cow, fmt, net::Ipv6Addr};

use crate::HostMatch;

/// Maximum bytes of a host name (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// An invalid host pattern, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host:?} is not a host: {reason}")]
pub struct InvalidHost {
    host: String,
    reason: &'static str,
}

// === impl HostMatch ===

impl HostMatch {
    /// Parses `*`, `*.example.org`, `example.org`, `192.0.2.1` or `[2001:db8::1]`. Case and a
    /// trailing dot are ignored; a port is an error, because it belongs to the listener.
    pub fn parse(host: &str) -> Result<Self, InvalidHost> {
        let fail = |reason| Err(InvalidHost { host: host.chars().take(300).collect(), reason });
        if host == "*" {
            return Ok(Self::Any);
        }
        if let Some(address) = ipv6(host) {
            return Ok(Self::Exact(address));
        }
        let (wildcard, name) = match host.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, host),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return fail("it is empty; write '*' for every host");
        }
        if name.len() > MAX_HOST_BYTES {
            return fail("it is longer than 253 characters");
        }
        if name.contains('*') {
            return fail("'*' stands for whole labels at the beginning, as in '*.example.org'");
        }
        if name.contains(['/', '@']) {
            return fail("write the host alone, without scheme, user or path");
        }
        if name.contains(':') {
            return fail("leave out the port, it belongs to the listener");
        }
        if !name.is_ascii() {
            return fail("write names outside ASCII in their 'xn--' form");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.split('.').all(label) {
            return fail("labels are 1 to 63 letters, digits, '-' or '_', joined by '.'");
        }
        let name = name.to_ascii_lowercase();
        Ok(if wildcard { Self::Wildcard(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// A host as the table compares it: lower case, without port and trailing dot; an IPv6 address in
/// brackets and in canonical form.
pub(crate) fn normalise(host: &str) -> Cow<'_, str> {
    if host.starts_with('[') {
        let literal = host.find(']').map_or(host, |end| &host[..=end]);
        return ipv6(literal).map_or(Cow::Borrowed(literal), Cow::Owned);
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() <= MAX_HOST_BYTES && name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The suffixes of `host` that begin after a dot and have at most `labels` labels, longest first.
pub(crate) fn suffixes(host: &str, labels: usize) -> impl Iterator<Item = &str> {
    let mut dots = host.bytes().enumerate().rev().filter(|&(_, b)| b == b'.');
    let mut begin = match labels {
        0 => host.len(),
        _ if host.len() > MAX_HOST_BYTES => host.len(),
        _ => dots.nth(labels - 1).map_or(0, |(position, _)| position + 1),
    };
    // A wildcard matches at least one label, so the whole host is not among the suffixes.
    let mut first = begin > 0 && begin < host.len();
    std::iter::from_fn(move || {
        if std::mem::take(&mut first) {
            return Some(&host[begin..]);
        }
        begin += host[begin..].find('.')? + 1;
        Some(&host[begin..])
    })
}

fn ipv6(host: &str) -> Option<String> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let address: Ipv6Addr = inner.parse().ok()?;
    Some(format!("[{address}]"))
}

#[cfg(test)]
mod tests;
