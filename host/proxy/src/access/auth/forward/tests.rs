use super::*;

const HOST: HeaderValue = HeaderValue::from_static("blog.example.org");
const CLIENT: HeaderValue = HeaderValue::from_static("203.0.113.9");

fn settings() -> ForwardAuth {
    ForwardAuth {
        host: "127.0.0.1".into(),
        port: 9091,
        path: "/api/verify?rd=x".into(),
        headers: vec!["remote-user".into(), "remote-groups".into()],
        timeout: Duration::from_secs(5),
    }
}

fn sent(trusted: bool, pairs: &[(&'static str, &'static str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(()).into_parts().0;
    request.method = http::Method::POST;
    request.uri = Uri::from_static("/write?title=a%20b");
    for (name, value) in pairs {
        request.headers.append(*name, HeaderValue::from_static(value));
    }
    let via = crate::via::Pseudonym::numbered(1);
    let origin = Origin { forwarded_for: &CLIENT, trusted, host: &HOST, via: &via };
    auth_request(&settings(), &origin, &request)
}

fn value<'a>(request: &'a Request<Empty<Bytes>>, name: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(name).iter();
    let only = values.next().map(|value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} is repeated");
    only
}

#[test]
fn the_service_gets_the_method_address_and_headers_of_the_request() {
    let request = sent(false, &[("cookie", "session=1"), ("accept", "text/html")]);
    assert_eq!(request.method(), http::Method::GET);
    assert_eq!(request.uri(), "http://127.0.0.1:9091/api/verify?rd=x");
    assert_eq!(value(&request, "x-forwarded-method"), Some("POST"));
    assert_eq!(value(&request, "x-forwarded-uri"), Some("/write?title=a%20b"));
    assert_eq!(value(&request, "x-forwarded-host"), Some("blog.example.org"));
    assert_eq!(value(&request, "x-forwarded-proto"), Some("http"));
    assert_eq!(value(&request, "x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(value(&request, "cookie"), Some("session=1"));
    assert_eq!(value(&request, "accept"), Some("text/html"));
    assert_eq!(value(&request, "host"), None, "the client sets it to the service's address");
}

#[test]
fn a_clients_forged_original_request_headers_are_replaced() {
    let forged = [
        ("x-forwarded-method", "GET"),
        ("X_Forwarded_Method", "GET"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-host", "public.example.org"),
        ("x-original-url", "https://public.example.org/"),
        ("x-original-uri", "/public"),
        ("x-http-method-override", "GET"),
    ];
    for trusted in [false, true] {
        let request = sent(trusted, &forged);
        assert_eq!(value(&request, "x-forwarded-method"), Some("POST"));
        assert_eq!(value(&request, "x-forwarded-uri"), Some("/write?title=a%20b"));
        for name in
            ["x_forwarded_method", "x-original-url", "x-original-uri", "x-http-method-override"]
        {
            assert_eq!(value(&request, name), None, "{name}");
        }
        assert_eq!(value(&request, "x-forwarded-host"), Some("blog.example.org"));
    }
}

#[test]
fn headers_about_the_body_the_connection_and_the_cache_are_not_sent() {
    let request = sent(
        false,
        &[
            ("content-length", "10"),
            ("content-type", "text/plain"),
            ("expect", "100-continue"),
            ("connection", "upgrade, x-mine"),
            ("upgrade", "websocket"),
            ("x-mine", "1"),
            ("if-none-match", "\"a\""),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("range", "bytes=0-1"),
            ("te", "trailers"),
        ],
    );
    let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    let expected = |name: &&str| *name == "via" || name.starts_with("x-forwarded-");
    assert!(names.iter().all(expected), "{names:?}");
}

#[test]
fn an_ipv6_service_is_addressed_in_brackets() {
    let settings = ForwardAuth { host: "::1".into(), ..settings() };
    assert_eq!(service_uri(&settings), "http://[::1]:9091/api/verify?rd=x");
}

#[test]
fn only_the_configured_headers_of_the_response_are_copied() {
    let mut response = HeaderMap::new();
    response.append("remote-user", HeaderValue::from_static("alice"));
    response.append("remote-groups", HeaderValue::from_static("a"));
    response.append("remote-groups", HeaderValue::from_static("b"));
    response.append("set-cookie", HeaderValue::from_static("x=1"));
    let mut headers = HeaderMap::new();
    let identity = identity(&settings().headers, &response);
    assert_eq!(identity.cookies, ["x=1"], "cookies go to the client, not to the workload");
    identity.add_to(&mut headers);
    assert_eq!(headers.len(), 3);
    assert_eq!(headers["remote-user"], "alice");
}
