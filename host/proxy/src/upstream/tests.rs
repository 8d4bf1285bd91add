use std::{net::TcpListener, sync::Mutex};

use async_trait::async_trait;

use super::*;

/// Permits every connection.
pub(crate) struct Anywhere;

/// Permits none.
pub(crate) struct Nowhere;

/// Permits one address alone and records each question.
struct Only {
    permitted: SocketAddr,
    asked: Mutex<Vec<(String, SocketAddr)>>,
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
        self.asked.lock().unwrap().push((host.to_owned(), address));
        (address == self.permitted).then_some(()).ok_or_else(|| format!("not {address}"))
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn nobody_connected(listener: &TcpListener) {
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_that_is_connected_to() {
    let (refused, address) = listener();
    let policy =
        Only { permitted: ([127, 0, 0, 2], address.port()).into(), asked: Mutex::default() };
    // Every one of these leads to 127.0.0.1; to a resolver, without any network, also `127.1`.
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "127.1", "0x7f.1"] {
        let error = open(host, address.port(), &policy).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{host}");
        assert_eq!(error.to_string(), format!("not {address}"), "{host}");
        let asked = std::mem::take(&mut *policy.asked.lock().unwrap());
        assert_eq!(asked, [(host.to_owned(), address)]);
    }
    nobody_connected(&refused);
}

#[tokio::test]
async fn of_a_name_s_addresses_only_a_permitted_one_is_connected_to() {
    let (_listener, address) = listener();
    let policy = Only { permitted: address, asked: Mutex::default() };
    // Leads to ::1 as well where the machine has IPv6.
    let stream = open("localhost", address.port(), &policy).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
}

#[tokio::test]
async fn a_name_is_looked_up_and_judged_for_each_connection() {
    let (_listener, address) = listener();
    let policy = Only { permitted: address, asked: Mutex::default() };
    for _ in 0..2 {
        open("127.1", address.port(), &policy).await.unwrap();
    }
    assert_eq!(policy.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_upstream_whose_machine_has_vanished_is_noticed_by_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = open("127.0.0.1", address.port(), &Anywhere).await.unwrap();
    let limits = HttpLimits::default();
    prepare(&stream, &limits).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap(), "a silent one is asked");
    assert!(socket.tcp_keepalive_time().unwrap() <= Duration::from_secs(60));
    let given_up = socket.tcp_user_timeout().unwrap().unwrap();
    assert!(given_up > limits.response_timeout, "the answer that tells why is ours");
    assert!(given_up < 2 * limits.response_timeout);
}
