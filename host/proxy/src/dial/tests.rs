use std::{net::TcpListener, sync::Mutex};

use async_trait::async_trait;

use super::*;

/// Permits every connection.
pub(crate) struct Anywhere;

/// Permits none.
pub(crate) struct Nowhere;

/// Permits one address and records each check.
struct Only {
    permitted: SocketAddr,
    checked: Mutex<Vec<(String, SocketAddr)>>,
}

#[async_trait]
impl DialPolicy for Anywhere {
    async fn check(&self, _: &str, _: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl DialPolicy for Nowhere {
    async fn check(&self, _: &str, _: SocketAddr) -> Result<(), String> {
        Err("no connection may be made".to_owned())
    }
}

#[async_trait]
impl DialPolicy for Only {
    async fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        self.checked.lock().unwrap().push((host.to_owned(), address));
        (address == self.permitted).then_some(()).ok_or_else(|| format!("not {address}"))
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn assert_not_connected(listener: &TcpListener) {
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_policy_checks_the_address_that_is_connected_to() {
    let (refused, address) = listener();
    let policy =
        Only { permitted: ([127, 0, 0, 2], address.port()).into(), checked: Mutex::default() };
    // Each of these is 127.0.0.1; resolvers read `127.1` so as well, without any network.
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "127.1", "0x7f.1"] {
        let error = dial(host, address.port(), &policy).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{host}");
        assert_eq!(error.to_string(), format!("not {address}"), "{host}");
        let checked = std::mem::take(&mut *policy.checked.lock().unwrap());
        assert_eq!(checked, [(host.to_owned(), address)]);
    }
    assert_not_connected(&refused);
}

#[tokio::test]
async fn only_a_permitted_address_of_a_name_is_connected_to() {
    let (_listener, address) = listener();
    let policy = Only { permitted: address, checked: Mutex::default() };
    // Resolves to ::1 as well where the machine has IPv6.
    let stream = dial("localhost", address.port(), &policy).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
}

#[tokio::test]
async fn a_name_is_resolved_and_checked_for_each_connection() {
    let (_listener, address) = listener();
    let policy = Only { permitted: address, checked: Mutex::default() };
    for _ in 0..2 {
        dial("127.1", address.port(), &policy).await.unwrap();
    }
    assert_eq!(policy.checked.lock().unwrap().len(), 2);
}
