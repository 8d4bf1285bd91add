//! Addresses and names of this machine.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Whether packets to this address stay on this machine: loopback, and the current addresses of all
/// interfaces. Determined from the kernel's routing table: a connected datagram socket, which sends
/// nothing, then has the destination as its source address. Addresses of containers behind a bridge
/// of this machine are not included.
///
/// If the kernel cannot be asked, the address counts as this machine's.
pub(super) fn is_local(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // The port does not affect routing.
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    });
    match source {
        Ok(source) => source.ip() == address,
        // Without a route a connection would fail too.
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
        ),
    }
}

/// Whether a name is this machine's: `localhost` (RFC 6761), or its host name, with any domain.
pub(super) fn is_own_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let label = |name: &str| name.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let own = label(&own);
    !own.is_empty() && label(&name) == own
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses of this machine's interfaces, from `if_inet6` and the table `local` of `fib_trie`.
    fn listed() -> Vec<IpAddr> {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let v6 = read("/proc/net/if_inet6");
        let v6 = v6.lines().filter_map(|line| {
            let bits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
            Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
        });
        let trie = read("/proc/net/fib_trie");
        let lines: Vec<&str> = trie.lines().map(str::trim).collect();
        let v4 = lines.windows(2).filter_map(|pair| {
            let own = pair[1].contains("host LOCAL");
            pair[0].strip_prefix("|-- ").filter(|_| own)?.parse().ok()
        });
        v6.chain(v4).collect()
    }

    #[test]
    fn addresses_of_all_interfaces_are_local() {
        let listed = listed();
        assert!(listed.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{listed:?}");
        for address in listed {
            // A link-local address needs a scope, and is refused earlier.
            if !super::super::special::is_link_local(address) {
                assert!(is_local(address), "{address}");
            }
        }
        assert!(is_local("127.1.2.3".parse().unwrap()));
        assert!(is_local("::1".parse().unwrap()));
    }

    #[test]
    fn localhost_and_the_host_name_are_own_names() {
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let own = own.trim().to_owned();
        for name in ["localhost", "LOCALHOST.", "blog.localhost", &own, &format!("{own}.lan")] {
            assert!(is_own_name(name), "{name}");
        }
        for name in ["", ".", "localhosts", &format!("x{own}"), &format!("x.{own}")] {
            assert!(!is_own_name(name), "{name}");
        }
    }

    #[test]
    fn addresses_of_other_machines_are_not_local() {
        // Documentation networks, which no machine has.
        for address in ["192.0.2.1", "198.51.100.7", "2001:db8::1"] {
            assert!(!is_local(address.parse().unwrap()), "{address}");
        }
    }
}
