//! Free ports of the loopback interface.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result};

/// Range below the kernel's ephemeral ports, so that a port that is bound later is still free.
const PORTS: Range<u16> = 10_240..32_000;

/// A port without a listener. A program never gets the same port twice.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Concurrent programs begin at different offsets.
    let begin = process::id().wrapping_mul(97);
    PORTS
        .map(|_| u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|turn| PORTS.start + (begin.wrapping_add(turn) % PORTS.len() as u32) as u16)
        .find(|port| is_free(*port))
        .context("every port of the loopback interface is in use")
}

/// `wanted` if it is free, else any free port.
pub fn free_or_any(wanted: u16) -> Result<u16> {
    if is_free(wanted) { Ok(wanted) } else { free() }
}

/// The address of a port on the loopback interface.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_are_unique() {
        let ports: BTreeSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_port_in_use_is_skipped() {
        let wanted = free().unwrap();
        let holder = TcpListener::bind(loopback(wanted)).unwrap();
        assert_ne!(free_or_any(wanted).unwrap(), wanted);
        drop(holder);
        assert_eq!(free_or_any(wanted).unwrap(), wanted);
    }
}
