//! The client's address behind trusted proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::{client::is_trusted, http::headers::X_FORWARDED_FOR};

/// The right-most address of `X-Forwarded-For` that is not a trusted proxy's. Entries to the left
/// of it were written by an untrusted sender. `peer` is the connection's address, as reported by
/// the PROXY protocol where the listener uses it.
pub(crate) fn client_address(peer: IpAddr, trust: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    if !is_trusted(trust, client) {
        return client;
    }
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for item in value.as_bytes().rsplit(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if item.is_empty() {
                continue;
            }
            match parse(item) {
                Some(address) => client = address.to_canonical(),
                // The proxy that wrote the malformed entry is the last known address.
                None => return client,
            }
            if !is_trusted(trust, client) {
                return client;
            }
        }
    }
    client
}

/// The unit in which limits count clients: an IPv4 address, or the /64 network of an IPv6 address,
/// which is one subscriber's.
pub(crate) fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Parses an address with or without brackets and port, as proxies write it.
fn parse(item: &[u8]) -> Option<IpAddr> {
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
