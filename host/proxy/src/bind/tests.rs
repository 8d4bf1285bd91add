use super::*;
use crate::settings::{HttpLimits, Protocol as ListenerProtocol};

fn settings(bind: SocketAddr) -> ListenerSettings {
    ListenerSettings {
        name: "web".into(),
        bind,
        protocol: ListenerProtocol::Http,
        trust: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: HttpLimits::default(),
    }
}

#[test]
fn every_thread_has_a_socket_on_the_port_chosen_by_the_kernel() {
    let (address, sockets) = bind(&settings("127.0.0.1:0".parse().unwrap()), 3).unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(sockets.len(), 3);
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
}

#[test]
fn the_error_for_a_port_in_use_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = bind(&settings(taken.local_addr().unwrap()), 1).unwrap_err().to_string();
    assert!(error.contains("listener \"web\"") && error.contains("ss -ltnp"), "{error}");
}

#[test]
fn a_second_router_on_the_port_is_an_error_despite_reuseport() {
    let (address, _sockets) = bind(&settings("127.0.0.1:0".parse().unwrap()), 1).unwrap();
    let error = bind(&settings(address), 1).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_error_for_an_address_of_another_machine_says_what_to_do() {
    let error = bind(&settings("192.0.2.1:0".parse().unwrap()), 1).unwrap_err().to_string();
    assert!(error.contains("ip address"), "{error}");
}
