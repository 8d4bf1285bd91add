use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use proptest::prelude::*;

use super::*;

const PEER: HeaderValue = HeaderValue::from_static("203.0.113.9");

fn via() -> Pseudonym {
    Pseudonym::numbered(0xabc)
}

fn request(lines: &[(&str, &str)]) -> request::Parts {
    let mut builder = Request::builder().uri("/path?q=1");
    for (name, value) in lines {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn response(status: u16, lines: &[(&str, &str)]) -> response::Parts {
    let mut builder = Response::builder().status(status);
    for (name, value) in lines {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn sent(mut head: request::Parts, trusted: bool) -> (HeaderMap, Option<HeaderValue>) {
    let host = host(&head).unwrap();
    let origin = Origin { forwarded_for: &PEER, trusted, host: &host, via: &via() };
    let offered = to_upstream(&mut head, &Empty::<Bytes>::new(), &origin);
    (head.headers, offered)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn hop_by_hop_headers_of_a_request_are_removed() {
    let (headers, offered) = sent(
        request(&[
            ("host", "a.org"),
            ("connection", "keep-alive, X-Secret, close"),
            ("connection", "Other"),
            ("x-secret", "1"),
            ("other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic Zm9v"),
            ("te", "gzip"),
            ("expect", "100-Continue"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer x"),
            ("accept", "*/*"),
        ]),
        false,
    );
    assert_eq!(offered, None);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "host",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto"
        ]
    );
}

#[test]
fn the_router_is_appended_to_via() {
    let (headers, _) = sent(request(&[("host", "a.org"), ("via", "1.0 first, 1.1 second")]), false);
    assert_eq!(text(&headers, "via"), ["1.0 first, 1.1 second", "1.1 drowse-0000000000000abc"]);
    let mut old = request(&[("host", "a.org"), ("connection", "via"), ("via", "1.1 first")]);
    old.version = Version::HTTP_10;
    let (headers, _) = sent(old, false);
    assert_eq!(text(&headers, "via"), ["1.1 first", "1.0 drowse-0000000000000abc"]);
    let mut head = response(200, &[("via", "1.1 backend")]);
    to_client(&mut head, &Empty::<Bytes>::new(), None).unwrap();
    assert_eq!(
        text(&head.headers, "via"),
        ["1.1 backend", "1.1 drowse"],
        "clients are not sent the pseudonym"
    );
}

#[test]
fn a_connection_header_cannot_remove_the_clients_address() {
    let (headers, _) = sent(
        request(&[
            ("host", "a.org"),
            ("connection", "x-forwarded-for, host, x-forwarded-proto"),
            ("x-forwarded-for", "10.0.0.1"),
        ]),
        true,
    );
    assert_eq!(text(&headers, "x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(text(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(text(&headers, "host"), ["a.org"]);
}

#[test]
fn the_origin_headers_of_an_untrusted_client_are_replaced() {
    let (headers, _) = sent(
        request(&[
            ("host", "a.org"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded-host", "bank.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "10.0.0.1"),
            ("X_Real-IP", "10.0.0.1"),
            ("x-original-url", "/admin"),
            ("X-Original_URI", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("forwarded", "for=10.0.0.1"),
            ("x-requested-with", "stays"),
        ]),
        false,
    );
    assert_eq!(text(&headers, "x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(text(&headers, "x-forwarded-host"), ["a.org"]);
    assert_eq!(text(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(text(&headers, "x-requested-with"), ["stays"]);
    assert_eq!(headers.len(), 6, "these, `Host` and `Via`");
}

#[test]
fn origin_headers_with_underscores_are_removed_for_a_trusted_proxy_too() {
    let (headers, _) = sent(
        request(&[
            ("host", "a.org"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_proto", "https"),
            ("x_real_ip", "10.0.0.1"),
            ("x-real-ip", "198.51.100.1"),
            ("x-original-url", "/stays"),
            ("x_original_url", "/admin"),
            ("x_other", "stays"),
        ]),
        true,
    );
    for name in ["x_forwarded_for", "x-forwarded_proto", "x_real_ip", "x_original_url"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(text(&headers, "x-forwarded-for"), ["198.51.100.1, 203.0.113.9"]);
    assert_eq!(text(&headers, "x-real-ip"), ["198.51.100.1"]);
    assert_eq!(text(&headers, "x_other"), ["stays"]);
    assert_eq!(text(&headers, "x-original-url"), ["/stays"]);
}

#[test]
fn the_origin_headers_of_a_trusted_proxy_are_extended() {
    let (headers, _) = sent(
        request(&[
            ("host", "inner"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "198.51.100.2"),
            ("x-forwarded-host", "a.org"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=198.51.100.1"),
        ]),
        true,
    );
    let line = "198.51.100.1, 198.51.100.2, 203.0.113.9";
    assert_eq!(text(&headers, "x-forwarded-for"), [line]);
    assert_eq!(text(&headers, "x-forwarded-host"), ["a.org"]);
    assert_eq!(text(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(text(&headers, "x-forwarded-port"), ["443"]);
    assert_eq!(text(&headers, "forwarded"), ["for=198.51.100.1"]);
    assert_eq!(text(&headers, "host"), ["inner"]);
}

#[test]
fn trailers_are_accepted_if_the_client_accepts_them() {
    let (headers, _) = sent(request(&[("host", "a"), ("te", "deflate, Trailers")]), false);
    assert_eq!(text(&headers, "te"), ["trailers"]);
    assert_eq!(text(&headers, "connection"), ["te"]);
}

#[test]
fn an_upgrade_is_forwarded_unless_it_is_http2_in_the_clear() {
    let send = |protocol| {
        let lines = [("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", protocol)];
        sent(request(&lines), false)
    };
    let (headers, offered) = send("websocket");
    assert_eq!(offered.unwrap(), "websocket");
    assert_eq!(text(&headers, "connection"), ["upgrade"]);
    assert_eq!(text(&headers, "upgrade"), ["websocket"]);
    for refused in ["h2c", "H2C", "websocket, h2c", "h2"] {
        let (headers, offered) = send(refused);
        assert_eq!(offered, None, "{refused}");
        assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"));
    }
}

#[test]
fn the_authority_of_an_absolute_target_becomes_the_host() {
    let mut head = request(&[("host", "other.org")]);
    head.uri = "http://A.org:81/x?y".parse().unwrap();
    let host = host(&head).unwrap();
    assert_eq!(host, "A.org:81");
    let origin = Origin { forwarded_for: &PEER, trusted: false, host: &host, via: &via() };
    to_upstream(&mut head, &Empty::<Bytes>::new(), &origin);
    assert_eq!(head.uri, "/x?y");
    assert_eq!(text(&head.headers, "host"), ["A.org:81"]);
}

#[test]
fn a_request_without_one_valid_host_is_refused() {
    let status = |head: &request::Parts| host(head).unwrap_err().status.as_u16();
    assert_eq!(status(&request(&[])), 400);
    assert_eq!(status(&request(&[("host", "a"), ("host", "b")])), 400);
    for bad in ["a/b", "u@a", "a b", "a,b", "a\\b", "a?b", "a\"b", "<a>"] {
        assert_eq!(status(&request(&[("host", bad)])), 400, "{bad}");
    }
    let mut old = request(&[]);
    old.version = Version::HTTP_10;
    assert_eq!(host(&old).unwrap(), "");
    let mut tunnel = request(&[("host", "a")]);
    tunnel.method = Method::CONNECT;
    assert_eq!(status(&tunnel), 501);
    let mut user = request(&[("host", "a")]);
    user.uri = "http://u:p@a/".parse().unwrap();
    assert_eq!(status(&user), 400);
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    assert!(check_framing(&request(&[("transfer-encoding", "Chunked")])).is_ok());
    for lines in [
        &[("transfer-encoding", "gzip, chunked")][..],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked, chunked")],
        &[("transfer-encoding", "")],
    ] {
        assert_eq!(check_framing(&request(lines)).unwrap_err().status.as_u16(), 501);
    }
}

/// A body of unknown length.
struct Unknown;

impl Body for Unknown {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
    let origin = Origin { forwarded_for: &PEER, trusted: false, host: &PEER, via: &via() };
    let mut head = request(&[("host", "a"), ("connection", "transfer-encoding")]);
    to_upstream(&mut head, &Unknown, &origin);
    assert_eq!(text(&head.headers, "transfer-encoding"), ["chunked"]);
    let mut head = request(&[("host", "a"), ("transfer-encoding", "chunked")]);
    to_upstream(&mut head, &Full::new(Bytes::from_static(b"x")), &origin);
    assert!(!head.headers.contains_key("transfer-encoding"));
}

#[test]
fn hop_by_hop_headers_of_a_response_are_removed() {
    let mut head = response(
        200,
        &[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("trailer", "x-sum"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ],
    );
    head.version = Version::HTTP_10;
    to_client(&mut head, &Unknown, None).unwrap();
    let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["set-cookie", "trailer", "via"]);
    assert_eq!(text(&head.headers, "via"), ["1.0 drowse"]);
    assert_eq!(text(&head.headers, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(head.version, Version::HTTP_11);
}

#[test]
fn a_repeated_content_length_is_merged() {
    let mut head = response(200, &[("content-length", "3, 3")]);
    to_client(&mut head, &Full::new(Bytes::from_static(b"abc")), None).unwrap();
    assert_eq!(text(&head.headers, "content-length"), ["3"]);
}

#[test]
fn a_switch_of_protocols_is_relayed_only_if_the_client_offered_it() {
    let body = Empty::<Bytes>::new();
    let offered = HeaderValue::from_static("chat, WebSocket");
    let mut head = response(101, &[("upgrade", "websocket"), ("connection", "Upgrade")]);
    to_client(&mut head, &body, Some(&offered)).unwrap();
    assert_eq!(text(&head.headers, "upgrade"), ["websocket"]);
    assert_eq!(text(&head.headers, "connection"), ["upgrade"]);
    for (lines, offered) in [
        (&[("upgrade", "websocket")][..], None),
        (&[("upgrade", "smtp")], Some(&offered)),
        (&[], Some(&offered)),
    ] {
        assert!(to_client(&mut response(101, lines), &body, offered).is_err());
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "connection",
            "keep-alive",
            "te",
            "upgrade",
            "proxy-connection",
            "transfer-encoding",
            "content-length",
            "x-forwarded-for",
            "x-forwarded-port",
            "x_forwarded-for",
            "expect",
            "trailer",
            "cookie",
            "x-real-ip",
            "x-original-url",
            "forwarded",
            "proxy-authorization",
        ])
        .prop_map(str::to_owned),
        "x-[a-c]{1,2}",
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(any_name(), 0..4).prop_map(|names| names.join(", ")),
        Just("100-continue".to_owned()),
        Just("trailers".to_owned()),
        "[ -~]{0,20}",
    ]
}

proptest! {
    #[test]
    fn no_hop_by_hop_header_of_any_request_is_forwarded(
        lines in prop::collection::vec((any_name(), any_value()), 0..12),
        trusted: bool,
    ) {
        let mut builder = Request::builder().header("host", "a.org");
        for (name, value) in &lines {
            builder = builder.header(name, value);
        }
        let head = builder.body(()).unwrap().into_parts().0;
        let named: Vec<HeaderName> = ConnectionOptions::take(&mut head.headers.clone()).named;
        let upgrade = ConnectionOptions::take(&mut head.headers.clone()).upgrade;
        let (headers, offered) = sent(head, trusted);

        for name in ["keep-alive", "proxy-connection", "proxy-authorization", "transfer-encoding"] {
            prop_assert!(!headers.contains_key(name), "{}", name);
        }
        prop_assert!(!headers.get_all("expect").iter().any(is_continue));
        let ours = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "host"];
        for name in named.iter().filter(|name| !ours.contains(&name.as_str())) {
            let put_back = name == CONNECTION || (offered.is_some() && name == UPGRADE);
            prop_assert!(!headers.contains_key(name) || put_back, "{}", name);
        }
        prop_assert!(offered.is_none() || upgrade);
        for value in headers.get_all(CONNECTION) {
            prop_assert!(value == "te" || value == "upgrade", "{:?}", value);
        }
        prop_assert_eq!(headers.contains_key(UPGRADE), offered.is_some());
        for name in ours {
            prop_assert_eq!(headers.get_all(name).iter().count(), 1, "{}", name);
        }
        let last = headers["x-forwarded-for"].as_bytes();
        prop_assert!(last.ends_with(b"203.0.113.9"));
        if !trusted {
            prop_assert_eq!(last, b"203.0.113.9");
            let others = headers.keys().filter(|name| !ours.contains(&name.as_str()));
            for name in others {
                prop_assert!(!is_origin_header(name.as_str()), "{}", name);
            }
        }
    }
}
