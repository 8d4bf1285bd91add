use super::*;
use crate::settings::{HttpLimits, Protocol as Speaks};

fn settings(bind: SocketAddr) -> ListenerSettings {
    ListenerSettings {
        name: "web".into(),
        bind,
        protocol: Speaks::Http,
        trust: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: HttpLimits::default(),
    }
}

#[test]
fn every_thread_has_a_socket_on_the_port_that_the_kernel_chose() {
    let (address, sockets) = bind(&settings("127.0.0.1:0".parse().unwrap()), 3).unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(sockets.len(), 3);
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = bind(&settings(taken.local_addr().unwrap()), 1).unwrap_err().to_string();
    assert!(error.contains("listener \"web\"") && error.contains("ss -ltnp"), "{error}");
}

#[test]
fn another_router_on_the_port_is_noticed_although_it_would_share() {
    let (address, _sockets) = bind(&settings("127.0.0.1:0".parse().unwrap()), 1).unwrap();
    let error = bind(&settings(address), 1).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
}

#[test]
fn an_address_of_another_machine_is_an_error_that_says_what_to_do() {
    let error = bind(&settings("192.0.2.1:0".parse().unwrap()), 1).unwrap_err().to_string();
    assert!(error.contains("ip address"), "{error}");
}
