//! Where a request really comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::headers::{X_FORWARDED_FOR, trusts};

/// The client behind trusted proxies: the right-most address of `X-Forwarded-For` that is none of
/// theirs. What stands to the left of it was written by somebody who is not believed. `peer` is
/// who is connected, by the PROXY protocol if that is spoken.
pub(crate) fn real(peer: IpAddr, trust: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    if !trusts(trust, client) {
        return client;
    }
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for item in value.as_bytes().rsplit(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if item.is_empty() {
                continue;
            }
            match address(item) {
                Some(address) => client = address.to_canonical(),
                // Whoever wrote it is the last one we know.
                None => return client,
            }
            if !trusts(trust, client) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: with or without brackets and port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let item = std::str::from_utf8(item).ok()?;
    if let Ok(address) = item.parse() {
        return Some(address);
    }
    if let Ok(socket) = item.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    item.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests;
