//! Free ports of the loopback interface.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result};

/// Below those that the kernel hands out by itself, so that a port that is taken later is still
/// free then.
const PORTS: Range<u16> = 10_240..32_000;

/// A port that nobody listens on now. The same program is never given the same port twice.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Programs that run at the same time begin at different places.
    let begin = process::id().wrapping_mul(97);
    PORTS
        .map(|_| u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|turn| PORTS.start + (begin.wrapping_add(turn) % PORTS.len() as u32) as u16)
        .find(|port| is_free(*port))
        .context("every port of the loopback interface is in use")
}

/// `wanted` if nobody listens there, else any free port.
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
    fn no_port_is_given_twice() {
        let ports: BTreeSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let wanted = free().unwrap();
        let holder = TcpListener::bind(loopback(wanted)).unwrap();
        assert_ne!(free_or_any(wanted).unwrap(), wanted);
        drop(holder);
        assert_eq!(free_or_any(wanted).unwrap(), wanted);
    }
}
