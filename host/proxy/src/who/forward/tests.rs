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

fn asked(trusted: bool, pairs: &[(&'static str, &'static str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(()).into_parts().0;
    request.method = http::Method::POST;
    request.uri = Uri::from_static("/write?title=a%20b");
    for (name, value) in pairs {
        request.headers.append(*name, HeaderValue::from_static(value));
    }
    let via = crate::via::Pseudonym::numbered(1);
    let origin = Origin { forwarded_for: &CLIENT, trusted, host: &HOST, via: &via };
    question(&settings(), &origin, &request)
}

fn told<'a>(question: &'a Request<Empty<Bytes>>, name: &str) -> Option<&'a str> {
    let mut values = question.headers().get_all(name).iter();
    let only = values.next().map(|value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} is there twice");
    only
}

#[test]
fn the_service_is_told_what_is_asked_for_and_by_whom() {
    let question = asked(false, &[("cookie", "session=1"), ("accept", "text/html")]);
    assert_eq!(question.method(), http::Method::GET);
    assert_eq!(question.uri(), "http://127.0.0.1:9091/api/verify?rd=x");
    assert_eq!(told(&question, "x-forwarded-method"), Some("POST"));
    assert_eq!(told(&question, "x-forwarded-uri"), Some("/write?title=a%20b"));
    assert_eq!(told(&question, "x-forwarded-host"), Some("blog.example.org"));
    assert_eq!(told(&question, "x-forwarded-proto"), Some("http"));
    assert_eq!(told(&question, "x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(told(&question, "cookie"), Some("session=1"));
    assert_eq!(told(&question, "accept"), Some("text/html"));
    assert_eq!(told(&question, "host"), None, "it is the service's own");
}

#[test]
fn what_a_client_says_of_the_request_is_not_believed() {
    let lies = [
        ("x-forwarded-method", "GET"),
        ("X_Forwarded_Method", "GET"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-host", "public.example.org"),
        ("x-original-url", "https://public.example.org/"),
        ("x-original-uri", "/public"),
        ("x-http-method-override", "GET"),
    ];
    for trusted in [false, true] {
        let question = asked(trusted, &lies);
        assert_eq!(told(&question, "x-forwarded-method"), Some("POST"));
        assert_eq!(told(&question, "x-forwarded-uri"), Some("/write?title=a%20b"));
        for name in
            ["x_forwarded_method", "x-original-url", "x-original-uri", "x-http-method-override"]
        {
            assert_eq!(told(&question, name), None, "{name}");
        }
        assert_eq!(told(&question, "x-forwarded-host"), Some("blog.example.org"));
    }
}

#[test]
fn nothing_is_told_of_the_body_the_connection_or_what_the_client_holds() {
    let question = asked(
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
    let names: Vec<_> = question.headers().keys().map(HeaderName::as_str).collect();
    let told = |name: &&str| *name == "via" || name.starts_with("x-forwarded-");
    assert!(names.iter().all(told), "{names:?}");
}

#[test]
fn an_ipv6_service_is_asked_by_its_address() {
    let settings = ForwardAuth { host: "::1".into(), ..settings() };
    assert_eq!(address(&settings), "http://[::1]:9091/api/verify?rd=x");
}

#[test]
fn of_its_answer_the_named_headers_are_copied_and_no_others() {
    let mut answer = HeaderMap::new();
    answer.append("remote-user", HeaderValue::from_static("alice"));
    answer.append("remote-groups", HeaderValue::from_static("a"));
    answer.append("remote-groups", HeaderValue::from_static("b"));
    answer.append("set-cookie", HeaderValue::from_static("x=1"));
    let mut headers = HeaderMap::new();
    let vouched = vouched(&settings().headers, &answer);
    assert_eq!(vouched.cookies, ["x=1"], "the client's, not the workload's");
    vouched.tell(&mut headers);
    assert_eq!(headers.len(), 3);
    assert_eq!(headers["remote-user"], "alice");
}
