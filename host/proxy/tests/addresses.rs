//! Destinations of requests: addresses that the provider permits at the time of the dial, and no
//! forwarding loops.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use common::{Backend, LAST_GET, Plan};
use tokio::{io::copy_bidirectional, net::TcpStream};

/// A response that closes the connection.
const LAST_OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// A TCP relay, which adds no `Via` header.
async fn relay(to: Arc<OnceLock<SocketAddr>>) -> Backend {
    Backend::new(move |mut wire| {
        let to = to.clone();
        async move {
            let mut other = TcpStream::connect(*to.get().unwrap()).await.unwrap();
            // Either side may end the connection.
            let _ = copy_bidirectional(&mut wire.0, &mut other).await;
        }
    })
    .await
}

/// The values of `Via` in a head.
fn via(head: &str) -> Vec<&str> {
    head.lines().filter_map(|line| line.strip_prefix("via: ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_made_to_an_address_that_the_provider_refuses() {
    let (backend, _requests) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.refused.lock().unwrap() = Some(backend.address);
    // A name for the router; the resolver maps it to 127.0.0.1.
    *router.fake.host.lock().unwrap() = Some("127.1".to_owned());
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(!answer.contains("127."), "addresses are not shown to visitors: {answer}");
    assert_eq!(backend.accepted(), 0);
    let dials = router.fake.dials.lock().unwrap().clone();
    assert!(dials.contains(&("127.1".to_owned(), backend.address)), "{dials:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_and_checked_again_for_the_next_connection() {
    let (backend, _requests) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.host.lock().unwrap() = Some("127.1".to_owned());
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200 "));
    // From here on the policy refuses the name's address.
    *router.fake.refused.lock().unwrap() = Some(backend.address);
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv4_mapped_ipv6_address_is_checked_and_dialled_as_ipv4() {
    let (backend, _requests) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.host.lock().unwrap() = Some("::ffff:127.0.0.1".to_owned());
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200 "));
    let dials = router.fake.dials.lock().unwrap().clone();
    assert_eq!(dials, [("::ffff:127.0.0.1".to_owned(), backend.address)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_returns_through_another_proxy_gets_508() {
    let router_address = Arc::new(OnceLock::new());
    let relay = relay(router_address.clone()).await;
    let router = Plan::new(relay.address).run();
    router_address.set(router.address).unwrap();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    assert!(answer.contains("\"code\":\"loop\""), "{answer}");
    assert!(answer.contains("has passed this router 4 times already"), "{answer}");
    assert_eq!(relay.accepted(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_in_series_serve_a_request_and_each_adds_a_via_entry() {
    let (backend, mut requests) = Backend::answering(LAST_OK).await;
    let inner = Plan::new(backend.address).run();
    let outer = Plan::new(inner.address).run();
    let answer = outer.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(via(&answer), ["1.1 drowse", "1.1 drowse"]);
    let head = requests.recv().await.unwrap();
    let hops = via(&head);
    assert_eq!(hops.len(), 2, "{head}");
    assert!(hops.iter().all(|hop| hop.starts_with("1.1 drowse-")), "{head}");
    assert_ne!(hops[0], hops[1], "each has its own pseudonym");
}
