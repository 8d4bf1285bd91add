//! Which addresses are this machine's own.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Whether what is sent to this address stays on this machine: loopback and the address of any of
/// its interfaces, as they are now. The kernel's routing table says so: a datagram socket that is
/// connected, and sends nothing, has the destination itself as its source there. Addresses of
/// containers behind a bridge of this machine are not its own.
///
/// An address counts as this machine's when the kernel cannot be asked.
pub(super) fn is_local(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // No port matters for a route.
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    });
    match source {
        Ok(source) => source.ip() == address,
        // Without a route no connection would be made either.
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
        ),
    }
}

/// Whether a name is this machine's own: `localhost` (RFC 6761), or its host name, with any domain.
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

    /// The addresses of this machine's interfaces, as the kernel lists them in `if_inet6` and in
    /// the table `local` of `fib_trie`.
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
    fn every_address_of_an_interface_is_this_machine_s() {
        let listed = listed();
        assert!(listed.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{listed:?}");
        for address in listed {
            // A link-local address needs its interface, and is refused before it comes to this.
            if !super::super::special::is_link_local(address) {
                assert!(is_local(address), "{address}");
            }
        }
        assert!(is_local("127.1.2.3".parse().unwrap()));
        assert!(is_local("::1".parse().unwrap()));
    }

    #[test]
    fn a_machine_has_the_names_that_it_gives_itself() {
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
    fn the_address_of_another_machine_is_not_this_machine_s() {
        // Networks for documentation: nobody has these addresses.
        for address in ["192.0.2.1", "198.51.100.7", "2001:db8::1"] {
            assert!(!is_local(address.parse().unwrap()), "{address}");
        }
    }
}
