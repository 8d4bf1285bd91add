//! Addresses that are never targets, and IPv6 forms that embed IPv4 addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks where clouds serve credentials, configuration and user data, with the service that the
/// cloud's documentation names. Those in 169.254.0.0/16 are listed too, because a provider's
/// `allow-addresses` may allow other link-local addresses.
const METADATA: &[(IpNet, &str)] = &[
    // Also Azure, DigitalOcean, Google Cloud, Hetzner, Huawei, IBM, OpenStack, Oracle, Vultr.
    (v4([169, 254, 169, 254]), "the metadata service of most clouds"),
    (v4([169, 254, 169, 252]), "the metadata server of GKE nodes"),
    (v4([169, 254, 170, 2]), "the task metadata and credentials of Amazon ECS"),
    (v4([169, 254, 170, 23]), "the Pod Identity agent of Amazon EKS"),
    (v4([169, 254, 0, 23]), "the metadata service of Tencent Cloud"),
    (v4([169, 254, 10, 10]), "the metadata service of Tencent Cloud"),
    (v4([169, 254, 42, 42]), "the metadata service of Scaleway"),
    (v4([168, 63, 129, 16]), "the host agent of Azure"),
    (v4([100, 100, 100, 200]), "the metadata service of Alibaba Cloud"),
    (v4([100, 96, 0, 96]), "the metadata service of Volcano Engine"),
    (v4([192, 0, 0, 192]), "the metadata service of Oracle Cloud Classic"),
    // IMDS at ::254, the Pod Identity agent of EKS at ::23, DNS and time beside them.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), "the instance services of Amazon EC2 and EKS"),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), "the metadata server of Google Cloud"),
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), "the metadata service of Oracle Cloud"),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), "the metadata service of Scaleway"),
    (v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128), "the metadata service of Akamai (Linode)"),
    (v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128), "the metadata service of Alibaba Cloud"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), "the metadata service of OpenStack"),
];

const fn v4([a, b, c, d]: [u8; 4]) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), 32))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// The canonical address, then every IPv4 address that a translator or tunnel would send its
/// packets to: IPv4-mapped and IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), NAT64 (RFC
/// 6052, RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214), Teredo (RFC 4380).
pub(super) fn address_forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let embedded = match address {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(v6) => embedded(v6),
    };
    // If a form has several positions, unused ones are zero.
    let embedded = embedded.into_iter().flatten().filter(|v4| !v4.is_unspecified());
    std::iter::once(address).chain(embedded.map(IpAddr::V4))
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let (segments, octets) = (address.segments(), address.octets());
    let at = |n: usize| Ipv4Addr::new(octets[n], octets[n + 1], octets[n + 2], octets[n + 3]);
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [Some(at(12)), None],
        // With a prefix of 96 bits, and of 48 bits, which skips the ninth octet.
        [0x64, 0xff9b, 1, ..] => {
            let split = Ipv4Addr::new(octets[6], octets[7], octets[9], octets[10]);
            [Some(at(12)), Some(split)]
        }
        [0x2002, ..] => [Some(at(2)), None],
        // The server, and the client with all bits inverted.
        [0x2001, 0, ..] => [Some(at(4)), Some(Ipv4Addr::from_bits(!at(12).to_bits()))],
        [0, 0, 0, 0, 0xffff, 0, ..] => [Some(at(12)), None],
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => [Some(at(12)), None],
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [Some(at(12)), None],
        _ => [None, None],
    }
}

/// Why no target may have this address under any configuration. Must be called for every form.
pub(super) fn refused_always(address: IpAddr) -> Option<String> {
    if let Some((_, service)) = METADATA.iter().find(|(network, _)| network.contains(&address)) {
        return Some(format!(
            "{address} is {service}, which gives out secrets; no setting allows it as a target"
        ));
    }
    let nowhere = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    (nowhere || address.is_multicast())
        .then(|| format!("no target can be at {address}, which belongs to no single machine"))
}

/// Returns whether an address is link-local. Clouds serve metadata on link-local addresses.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Returns whether a whole network is link-local.
pub(super) fn is_link_local_network(network: &IpNet) -> bool {
    is_link_local(network.network()) && is_link_local(network.broadcast())
}

/// Returns whether an address is private, shared or loopback.
pub(super) fn is_private_or_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is shared address space (RFC 6598), which overlay networks use.
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}
