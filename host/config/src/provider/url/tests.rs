use super::*;

#[test]
fn a_socket_is_an_absolute_path() {
    let transport = Transport::Unix("/var/run/docker.sock".into());
    assert_eq!(parse("unix:///var/run/docker.sock"), Ok(Url { transport, base: String::new() }));
    assert!(parse("unix://docker.sock").is_err());
    assert!(parse("unix:/var/run/docker.sock").is_err());
}

#[test]
fn ports_have_their_usual_values_and_a_base_loses_its_last_slash() {
    let host = || "pve.example".to_owned();
    let transport = Transport::Http { host: host(), port: 80 };
    assert_eq!(parse("http://pve.example"), Ok(Url { transport, base: String::new() }));
    let transport =
        Transport::Https { host: host(), port: 8006, trust: Trust::System, identity: None };
    let expected = Url { transport, base: "/api2/json".to_owned() };
    assert_eq!(parse("https://pve.example:8006/api2/json/"), Ok(expected));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let transport = Transport::Http { host: "::1".to_owned(), port: 8080 };
    assert_eq!(parse("http://[::1]:8080"), Ok(Url { transport, base: String::new() }));
    for text in ["http://::1:8080", "http://[::1", "http://[::1]8080", "http://[x]:1"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn datagrams_go_to_a_host_and_a_port_and_nothing_more() {
    let transport = Transport::Udp { host: "192.168.1.255".to_owned(), port: 9 };
    assert_eq!(parse("udp://192.168.1.255:9"), Ok(Url { transport, base: String::new() }));
    let transport = Transport::Udp { host: "ff02::1".to_owned(), port: 9 };
    assert_eq!(parse("udp://[ff02::1]:9"), Ok(Url { transport, base: String::new() }));
    for text in ["udp://192.168.1.255", "udp://box.lan:9/path", "udp://:9", "udp://box.lan:0"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_more_than_a_place_is_refused() {
    for text in [
        "https://user:secret@host",
        "http://host/?x=1",
        "http://host:0",
        "http://host:http",
        "http://",
        "http://ho st",
        "http://host/a//b",
        "http://host/a/../b",
        "ftp://host",
        "host:80",
    ] {
        let why = parse(text).expect_err(text);
        assert!(!why.contains("secret"), "{why}");
    }
}
