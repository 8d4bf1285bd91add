//! Stable MAC addresses of containers' interfaces.
//!
//! A container that wakes has a new interface, usually with its previous IP address. Hosts that
//! talked to its previous instance, above all the router's machine, have the old MAC address in
//! their neighbour table and use it in vain until the entry expires, which takes up to half a
//! minute. So the same MAC address is requested each time.

use std::{fmt::Write as _, sync::LazyLock};

use sha2::{Digest as _, Sha256};

/// Identifies this machine among others in the same network.
static MACHINE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let files = ["/etc/machine-id", "/etc/hostname"];
    files.iter().find_map(|file| std::fs::read(file).ok()).unwrap_or_default()
});

/// The MAC address of a container's interface in a network: unicast, locally administered (IEEE
/// 802, §8.4).
pub(super) fn address(network: &str, container: &str, interface: &str) -> String {
    of(&MACHINE, network, container, interface)
}

fn of(machine: &[u8], network: &str, container: &str, interface: &str) -> String {
    let mut hash = Sha256::new();
    for part in [machine, network.as_bytes(), container.as_bytes(), interface.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash[..5].iter().fold("02".to_owned(), |mut address, byte| {
        write!(address, ":{byte:02x}").expect("writing to a String cannot fail");
        address
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_has_a_stable_locally_administered_address() {
        let own = of(b"one", "lan", "default-web", "eth0");
        assert_eq!(own, of(b"one", "lan", "default-web", "eth0"));
        assert_eq!(own.len(), "02:00:00:00:00:00".len());
        assert!(own.starts_with("02:"), "{own}");
        for other in [
            of(b"two", "lan", "default-web", "eth0"),
            of(b"one", "wan", "default-web", "eth0"),
            of(b"one", "lan", "default-wiki", "eth0"),
            of(b"one", "lan", "default-web", "eth1"),
            of(b"one", "lanx", "default-we", "eth0"),
        ] {
            assert_ne!(own, other);
        }
    }
}
