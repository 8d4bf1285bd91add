use super::*;

fn suffixes_of(host: &str, labels: usize) -> Vec<&str> {
    suffixes(host, labels).collect()
}

#[test]
fn hosts_are_compared_without_case_port_and_trailing_dot() {
    for host in ["blog.example.org", "Blog.Example.ORG", "blog.example.org.", "blog.example.org:80"]
    {
        assert_eq!(normalise(host), "blog.example.org", "{host}");
    }
    assert_eq!(normalise("BLOG.example.org.:8080"), "blog.example.org");
    assert_eq!(normalise("192.0.2.1:80"), "192.0.2.1");
    assert_eq!(normalise("host:"), "host");
}

#[test]
fn ipv6_literals_are_compared_by_address() {
    assert_eq!(normalise("[::1]:8080"), "[::1]");
    assert_eq!(normalise("[0:0:0::1]"), "[::1]");
    assert_eq!(normalise("[2001:DB8::1]:1"), "[2001:db8::1]");
    assert_eq!(HostMatch::parse("2001:DB8:0::1"), Ok(HostMatch::Exact("[2001:db8::1]".into())));
    assert_eq!(HostMatch::parse("[::1]"), Ok(HostMatch::Exact("[::1]".into())));
}

#[test]
fn malformed_hosts_do_not_panic() {
    for host in ["", ":", "[", "[::1", "a:b:c", "..", "[zz]:80", "é"] {
        let _ = normalise(host);
    }
    assert_eq!(normalise(""), "");
    assert_eq!(normalise("[::1"), "[::1");
}

#[test]
fn suffixes_begin_after_dots_longest_first() {
    assert_eq!(suffixes_of("a.b.c.d", 9), ["b.c.d", "c.d", "d"]);
    assert_eq!(suffixes_of("a.b.c.d", 2), ["c.d", "d"]);
    assert_eq!(suffixes_of("a.b.c.d", 3), ["b.c.d", "c.d", "d"]);
    assert_eq!(suffixes_of("a.b.c.d", 0), [""; 0]);
    assert_eq!(suffixes_of("a", 3), [""; 0]);
    assert_eq!(suffixes_of("", 3), [""; 0]);
}

#[test]
fn a_host_is_displayed_as_configured() {
    for host in ["*", "*.example.org", "example.org", "[::1]", "192.0.2.1"] {
        assert_eq!(HostMatch::parse(host).unwrap().to_string(), host);
    }
    assert_eq!(HostMatch::parse("*.Example.org.").unwrap().to_string(), "*.example.org");
}

#[test]
fn an_invalid_host_is_refused_with_the_reason() {
    let long = format!("{}.org", "a".repeat(64));
    for (host, reason) in [
        ("", "empty"),
        ("*.", "empty"),
        ("a.*.org", "whole labels"),
        ("*a.org", "whole labels"),
        ("http://a.org", "alone"),
        ("u@a.org", "alone"),
        ("a.org:80", "port"),
        ("straße.de", "xn--"),
        ("a..org", "labels"),
        ("a b.org", "labels"),
        (&long, "labels"),
    ] {
        let error = HostMatch::parse(host).unwrap_err().to_string();
        assert!(error.contains(reason), "{host:?}: {error}");
    }
}
