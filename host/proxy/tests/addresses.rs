//! Where a request may go: to addresses that the provider permits at the moment of the connection,
//! and not round in a loop.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use common::{Backend, LAST_GET, Plan};
use tokio::{io::copy_bidirectional, net::TcpStream};

/// The last answer on its connection.
const LAST_OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// Passes bytes on in both directions, as a proxy that says nothing of itself.
async fn relay(to: Arc<OnceLock<SocketAddr>>) -> Backend {
    Backend::new(move |mut wire| {
        let to = to.clone();
        async move {
            let mut other = TcpStream::connect(*to.get().unwrap()).await.unwrap();
            // Either side may end it as it likes.
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
    let (backend, _told) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.refused.lock().unwrap() = Some(backend.address);
    // A name to the router, and 127.0.0.1 to its resolver.
    *router.fake.host.lock().unwrap() = Some("127.1".to_owned());
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(!answer.contains("127."), "visitors are not told addresses: {answer}");
    assert_eq!(backend.accepted(), 0);
    let dials = router.fake.dials.lock().unwrap().clone();
    assert!(dials.contains(&("127.1".to_owned(), backend.address)), "{dials:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_meaning_is_judged_again_at_the_next_connection() {
    let (backend, _told) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.host.lock().unwrap() = Some("127.1".to_owned());
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200 "));
    // From here on the name means, to the policy, an address that is not for visitors.
    *router.fake.refused.lock().unwrap() = Some(backend.address);
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_ipv6_form_is_judged_and_connected_to_as_the_ipv4_address_that_it_is() {
    let (backend, _told) = Backend::answering(LAST_OK).await;
    let router = Plan::new(backend.address).run();
    *router.fake.host.lock().unwrap() = Some("::ffff:127.0.0.1".to_owned());
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200 "));
    let dials = router.fake.dials.lock().unwrap().clone();
    assert_eq!(dials, [("::ffff:127.0.0.1".to_owned(), backend.address)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_back_through_another_proxy_ends_with_508() {
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
async fn two_routers_in_series_serve_a_request_and_each_tells_of_itself() {
    let (backend, mut told) = Backend::answering(LAST_OK).await;
    let inner = Plan::new(backend.address).run();
    let outer = Plan::new(inner.address).run();
    let answer = outer.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(via(&answer), ["1.1 drowse", "1.1 drowse"]);
    let head = told.recv().await.unwrap();
    let hops = via(&head);
    assert_eq!(hops.len(), 2, "{head}");
    assert!(hops.iter().all(|hop| hop.starts_with("1.1 drowse-")), "{head}");
    assert_ne!(hops[0], hops[1], "each has its own pseudonym");
}
