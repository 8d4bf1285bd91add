use std::net::TcpListener;

use super::*;

#[tokio::test]
async fn an_upstream_whose_machine_has_vanished_is_noticed_by_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = open("127.0.0.1", address.port()).await.unwrap();
    let limits = HttpLimits::default();
    prepare(&stream, &limits).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap(), "a silent one is asked");
    assert!(socket.tcp_keepalive_time().unwrap() <= Duration::from_secs(60));
    let given_up = socket.tcp_user_timeout().unwrap().unwrap();
    assert!(given_up > limits.response_timeout, "the answer that tells why is ours");
    assert!(given_up < 2 * limits.response_timeout);
}
