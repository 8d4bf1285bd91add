use std::net::TcpListener;

use super::*;
use crate::dial::tests::Anywhere;

#[tokio::test]
async fn the_kernel_notices_an_upstream_whose_machine_has_vanished() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = dial("127.0.0.1", address.port(), &Anywhere).await.unwrap();
    let limits = HttpLimits::default();
    set_options(&stream, &limits).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap(), "keepalive probes an idle upstream");
    assert!(socket.tcp_keepalive_time().unwrap() <= Duration::from_secs(60));
    let given_up = socket.tcp_user_timeout().unwrap().unwrap();
    assert!(given_up > limits.response_timeout, "the router responds before the kernel gives up");
    assert!(given_up < 2 * limits.response_timeout);
}
