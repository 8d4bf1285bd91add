//! URLs of endpoints.

use std::{net::Ipv6Addr, path::PathBuf};

use drowse_plugins::settings::{Transport, Trust};

#[cfg(test)]
mod tests;

/// An endpoint's URL in parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) transport: Transport,
    /// Path prefix without a slash at the end.
    pub(crate) base: String,
}

/// Parses `unix:///path`, `http://host[:port][/base]`, `https://…` and `udp://host:port`. The error does not
/// repeat the text, which may hold a password.
pub(crate) fn parse(text: &str) -> Result<Url, &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("write \"unix:///path\", \"http://host:port\" or \"https://host:port\"");
    };
    if rest.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("it holds white space or control characters");
    }
    match scheme {
        "unix" if rest.starts_with('/') && rest.len() > 1 => {
            Ok(Url { transport: Transport::Unix(PathBuf::from(rest)), base: String::new() })
        }
        "unix" => Err("the path of a socket begins with `/`: \"unix:///var/run/docker.sock\""),
        "http" => {
            let (host, port, base) = authority(rest, 80)?;
            Ok(Url { transport: Transport::Http { host, port }, base })
        }
        "https" => {
            let (host, port, base) = authority(rest, 443)?;
            Ok(Url {
                transport: Transport::Https { host, port, trust: Trust::System, identity: None },
                base,
            })
        }
        "udp" => match authority(rest, 0)? {
            (_, 0, _) => Err("the port is missing: \"udp://192.168.1.255:9\""),
            (host, port, base) if base.is_empty() => {
                Ok(Url { transport: Transport::Udp { host, port }, base })
            }
            _ => Err("a datagram goes to a host and a port; take the path out"),
        },
        _ => Err("only unix, http, https and udp are known"),
    }
}

/// Whether a URL is one for datagrams.
pub(crate) fn is_datagrams(text: &str) -> bool {
    matches!(parse(text), Ok(Url { transport: Transport::Udp { .. }, .. }))
}

/// Parses `http://host[:port][/path][?query]` into host, port, and path with query. The error does not
/// repeat the text, which may hold a password.
pub(crate) fn http(text: &str) -> Result<(String, u16, String), &'static str> {
    let rest = text.strip_prefix("http://");
    let rest = rest.ok_or("write \"http://host:port/path\"; other schemes are not supported")?;
    let (place, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    if place.contains('@') {
        return Err("it holds a user or password, which is not sent; take it out");
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds white space or characters outside ASCII");
    }
    let (host, port, base) = authority(place, 80)?;
    let last = if place.ends_with('/') || base.is_empty() { "/" } else { "" };
    if query.contains('#') {
        return Err("it has a fragment, which is never sent");
    }
    Ok((host, port, format!("{base}{last}{query}")))
}

fn authority(rest: &str, default: u16) -> Result<(String, u16, String), &'static str> {
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment, which an endpoint cannot have");
    }
    let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("it holds a user or password; add them as a header from `env` or `file`");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or("the bracket is never closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "only IPv6 addresses stand in brackets")?;
            let port = match port.strip_prefix(':') {
                Some(port) => Some(port),
                None if port.is_empty() => None,
                None => return Err("only a port follows the brackets"),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets: \"http://[::1]:8080\"");
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if !host.chars().all(plain) {
        return Err("the host is not a name or an address");
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("the port is not one")?,
        None => default,
    };
    let base = base.trim_end_matches('/');
    if base.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("its path has empty or dot segments");
    }
    Ok((host.to_owned(), port, base.to_owned()))
}
