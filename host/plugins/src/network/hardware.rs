//! The hardware address of a container's interface: the same in each of its lives.
//!
//! A container that wakes has a new interface, and usually the address that it had before. Whoever
//! talked to its last life, the router's machine above all, knows that address by the hardware behind
//! it, and asks there in vain until that is found to be gone, which takes up to half a minute. So what
//! is asked for is what its last life had.

use std::{fmt::Write as _, sync::LazyLock};

use sha2::{Digest as _, Sha256};

/// What tells this machine from others in the same network.
static MACHINE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let places = ["/etc/machine-id", "/etc/hostname"];
    places.iter().find_map(|place| std::fs::read(place).ok()).unwrap_or_default()
});

/// Of one container's interface in one network: unicast, locally administered (IEEE 802, §8.4).
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
    fn each_interface_has_one_address_which_no_manufacturer_gives() {
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
