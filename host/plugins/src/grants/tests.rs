use proptest::prelude::*;

use super::{policy::suggestion, *};

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn passes(rules: &[&str], method: &str, path: &str) -> bool {
    let rules = rules.iter().map(|text| rule(text)).collect();
    Policy::new(Some(rules), None).check(&asked(method, path)).is_ok()
}

fn asked<'a>(method: &'a str, path: &'a str) -> Asked<'a> {
    Asked { provider: "docker", endpoint: "engine", method, path, body: false, target: None }
}

#[test]
fn a_body_needs_a_rule_that_says_so() {
    let with_body = |rules: &[&str]| {
        let rules = rules.iter().map(|text| rule(text)).collect();
        let asked = Asked { body: true, ..asked("POST", "/v1.23/containers/web/start") };
        Policy::new(Some(rules), None).check(&asked)
    };
    let refusal = with_body(&["POST /*/containers/*/start", "* /**"]).unwrap_err();
    assert!(
        refusal.contains("POST with a body /v1.23/containers/web/start is not granted")
            && refusal.ends_with("]: \"POST+body /*/containers/*/start\","),
        "{refusal}"
    );
    assert_eq!(with_body(&["POST+body /*/containers/*/start"]), Ok(()));
    assert_eq!(with_body(&["*+body /**"]), Ok(()));
    assert!(with_body(&["PUT+body /**"]).is_err());
    assert!(passes(&["POST+body /x"], "POST", "/x"), "it may have one and need not");
}

#[test]
fn a_star_is_exactly_one_segment() {
    let rules = &["POST /containers/*/start"];
    assert!(passes(rules, "POST", "/containers/blog/start"));
    assert!(passes(rules, "POST", "/containers/blog/start?x=/../y"));
    assert!(!passes(rules, "GET", "/containers/blog/start"));
    assert!(!passes(rules, "POST", "/containers/start"));
    assert!(!passes(rules, "POST", "/containers/a/b/start"));
    assert!(!passes(rules, "POST", "/containers/blog/start/x"));
}

#[test]
fn a_final_double_star_is_any_rest_and_none() {
    let rules = &["* /nodes/*/lxc/**"];
    assert!(passes(rules, "DELETE", "/nodes/n1/lxc"));
    assert!(passes(rules, "GET", "/nodes/n1/lxc/104/status"));
    assert!(!passes(rules, "GET", "/nodes/n1/qemu/104"));
    assert!(passes(&["GET /**"], "GET", "/"));
    assert!(!passes(&["GET /**"], "POST", "/"));
}

#[test]
fn literals_are_compared_decoded_and_with_case() {
    assert!(passes(&["GET /a b/*"], "GET", "/a%20b/c"));
    assert!(!passes(&["GET /images/*"], "GET", "/Images/x"));
}

#[test]
fn paths_that_can_be_read_in_two_ways_are_refused() {
    let cases = [
        ("containers/json", PathFlaw::NoSlash),
        ("", PathFlaw::NoSlash),
        ("http://elsewhere/x", PathFlaw::NoSlash),
        ("/containers/../exec", PathFlaw::DotSegment),
        ("/containers/./exec", PathFlaw::DotSegment),
        ("/containers/..;/exec", PathFlaw::DotSegment),
        ("/containers/%2e%2e/exec", PathFlaw::EncodedDot),
        ("/containers/.%2E/exec", PathFlaw::EncodedDot),
        ("/containers/a%2Fb/exec", PathFlaw::EncodedSlash),
        ("/containers/a%2fb/exec", PathFlaw::EncodedSlash),
        ("/containers//exec", PathFlaw::EmptySegment),
        ("//containers", PathFlaw::EmptySegment),
        ("/containers/", PathFlaw::EmptySegment),
        ("/containers\\..\\exec", PathFlaw::Backslash),
        ("/containers/%5c/exec", PathFlaw::Backslash),
        ("/containers/a\r\nX: y", PathFlaw::Control),
        ("/containers/a%00", PathFlaw::Control),
        ("/containers/a%0d%0aX", PathFlaw::Control),
        ("/containers/a?b\nc", PathFlaw::Control),
        ("/containers/%252e%252e/x", PathFlaw::Encoding),
        ("/containers/%2", PathFlaw::Encoding),
        ("/containers/%zz", PathFlaw::Encoding),
        ("/containers/%ff", PathFlaw::Encoding),
        ("/containers/a b", PathFlaw::Raw),
        ("/containers/a#b", PathFlaw::Raw),
        ("/containers/é", PathFlaw::Raw),
    ];
    for (path, flaw) in cases {
        assert_eq!(CleanPath::parse(path), Err(flaw), "{path:?}");
    }
}

#[test]
fn a_refusal_names_the_line_to_add() {
    let asked = Asked {
        provider: "docker",
        endpoint: "engine",
        method: "POST",
        path: "/v1.41/containers/x/exec?detach=1",
        body: false,
        target: Some("x"),
    };
    let granted = Policy::new(Some(vec![rule("GET /*/containers/json")]), None);
    assert_eq!(
        granted.check(&asked).unwrap_err(),
        "provider \"docker\": POST /v1.41/containers/x/exec is not granted on endpoint \"engine\": \
         add to the rules of [provider.docker.endpoint.engine]: \"POST /*/containers/*/exec\","
    );
    let nobody = Policy::new(None, None).check(&asked).unwrap_err();
    assert!(
        nobody.ends_with(
            "[provider.docker.endpoint.engine]: rules = [\"POST /*/containers/*/exec\"]"
        ),
        "{nobody}"
    );
    let wished = Policy::new(None, Some(vec![rule("GET /_ping")])).check(&asked).unwrap_err();
    let line = "]: rules = [\"GET /_ping\", \"POST /*/containers/*/exec\"]";
    assert!(wished.ends_with(line), "{wished}");
}

#[test]
fn what_the_plugin_says_it_needs_is_proposed_before_anything_made_up() {
    let wished = vec![rule("GET /*/images/**"), rule("/a.v1.Tasks/*")];
    let policy = Policy::new(Some(Vec::new()), Some(wished.clone()));
    let refusal = policy.check(&asked("GET", "/v1.41/images/ghcr.io/team/a/json")).unwrap_err();
    assert!(refusal.ends_with("]: \"GET /*/images/**\","), "{refusal}");
    let called = Called { provider: "c", endpoint: "engine", method: "/a.v1.Tasks/Kill" };
    let refusal = policy.check_call(&called).unwrap_err();
    assert!(refusal.ends_with("]: \"/a.v1.Tasks/*\","), "{refusal}");
    assert!(policy.lacks().eq(&wished), "both");
    assert_eq!(Policy::new(Some(wished.clone()), Some(wished)).lacks().count(), 0);
}

#[test]
fn a_rule_covers_what_asks_for_no_more() {
    for (rule_text, covered) in [
        ("GET /a/*", vec!["GET /a/*", "GET /a/b"]),
        ("* /a/**", vec!["GET /a", "POST /a/b", "GET /a/*/c", "DELETE /a/b/**"]),
        ("*+body /**", vec!["PUT+body /x", "GET /"]),
        ("/a.v1.Tasks/*", vec!["/a.v1.Tasks/Kill", "/a.v1.Tasks/*"]),
    ] {
        for text in covered {
            assert!(rule(rule_text).covers(&rule(text)), "{rule_text} covers {text}");
        }
    }
    for (rule_text, beyond) in [
        ("GET /a/*", vec!["POST /a/*", "GET /a", "GET /a/*/b", "GET /a/**", "GET+body /a/b"]),
        ("GET /a/b", vec!["GET /a/*"]),
        ("* /**", vec!["POST+body /a", "/a.v1.Tasks/Kill"]),
        ("/a.v1.Tasks/Kill", vec!["/a.v1.Tasks/*", "/a.v1.Tasks/Get"]),
    ] {
        for text in beyond {
            assert!(!rule(rule_text).covers(&rule(text)), "{rule_text} does not cover {text}");
        }
    }
}

#[test]
fn a_refused_call_names_the_line_to_add_and_the_line_allows_it() {
    let method = "/a.v1.Tasks/Kill";
    let called = Called { provider: "c", endpoint: "daemon", method };
    let refusal = Policy::new(Some(vec![rule("/a.v1.Tasks/Get")]), None).check_call(&called);
    assert_eq!(
        refusal.unwrap_err(),
        "provider \"c\": gRPC call /a.v1.Tasks/Kill is not granted on endpoint \"daemon\": add to \
         the rules of [provider.c.endpoint.daemon]: \"/a.v1.Tasks/Kill\","
    );
    assert_eq!(Policy::new(Some(vec![rule(method)]), None).check_call(&called), Ok(()));
}

#[test]
fn the_suggested_rule_lets_the_request_pass() {
    for path in
        ["/", "/_ping", "/v1.41/containers/x/exec", "/a/b", "/nodes/n1/lxc/104/status/start"]
    {
        let clean = CleanPath::parse(path).unwrap();
        let suggested = suggestion(&asked("POST", path), &clean).unwrap();
        assert!(rule(&suggested).allows("POST", &clean, false), "{path}");
    }
}

#[test]
fn names_that_are_no_bare_keys_are_quoted() {
    assert_eq!(toml_key("pve-basement"), "pve-basement");
    assert_eq!(toml_key("pve/basement.1"), "\"pve/basement.1\"");
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    for text in [
        "",
        "GET",
        "GET ",
        "get /x",
        "GET x",
        "GET /a//b",
        "GET /a/",
        "GET /../a",
        "GET /a*",
        "GET /**/a",
        "GET /a%20b",
        "GET /a?b",
        "CONNECT /",
        "GET  /x",
        "GET /a\\b",
        "+body /a",
        "GET+BODY /a",
        "GET+ /a",
        "/a",
        "/a.b",
        "/a.b/",
        "/a/b",
        "/a.b/**",
        "/*/c",
        "/a.b/c/d",
        "/a.b/c*",
        "/.a/b",
        "/a..b/c",
        "/a.b/c?d",
        "GET +body /a",
    ] {
        assert!(text.parse::<Rule>().is_err(), "{text:?}");
    }
}

#[test]
fn a_rule_reads_as_it_was_written() {
    for text in [
        "GET /",
        "* /**",
        "POST /containers/*/start",
        "GET /a b/**",
        "*+body /**",
        "PUT+body /a",
        "/a.v1.Tasks/*",
        "/a.v1.Tasks/Get",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
}

/// Pieces that tricks are made of, between harmless ones.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.%/\\\\;]{1,6}",
        prop::sample::select(vec![
            "/", "//", "..", ".", "%2e", "%2E", "%2f", "%5C", "%00", "%0a", "%252e", "\\", ";",
            "?", "#", "a", "\u{7f}", "\r\n", "é", "%c0%ae", "%",
        ])
        .prop_map(str::to_owned),
    ]
}

/// What any reader of the path, however careless, could take it for.
fn suspicious(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap();
    let lower = path.to_ascii_lowercase();
    let segments = || path.split('/').skip(1).map(|s| s.split(';').next().unwrap());
    path.contains("//")
        || (path.len() > 1 && path.ends_with('/'))
        || path.contains('\\')
        || path_and_query.chars().any(char::is_control)
        || ["%2e", "%2f", "%5c", "%0", "%1", "%7f"].iter().any(|trick| lower.contains(trick))
        || segments().any(|segment| matches!(segment, "." | ".."))
}

/// To be fuzzed: its corpus is replayed. A line with a rule, and one with the path.
#[test]
fn fuzzed_paths_pass_no_rule_that_they_only_seem_to_fit() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let (text, path) = text.split_once('\n').unwrap_or(("GET /a/*", text));
        assert!(!suspicious(path) || !passes(&["* /**"], "GET", path), "{path:?}");
        let Ok(rule) = text.parse::<Rule>() else { return };
        assert_eq!(rule.to_string(), text);
        let Ok(clean) = CleanPath::parse(path) else { return };
        if rule.allows("GET", &clean, false) {
            assert!(text.starts_with("GET") || text.starts_with('*'), "{text:?} for {path:?}");
            assert!(clean.segments.len() >= rule.segments.len());
        }
    });
}

fn rule_text() -> impl Strategy<Value = String> {
    "(GET|POST|\\*)(\\+body)? (/|((/[ab*]){1,3}|(/[ab*]){0,2}/\\*\\*))"
}

proptest! {
    #[test]
    fn what_a_covered_rule_allows_the_covering_one_allows(
        own in rule_text(), other in rule_text(), method in "GET|POST", path in "(/[ab]){0,3}", body: bool,
    ) {
        let (own, other) = (rule(&own), rule(&other));
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let clean = CleanPath::parse(&path).unwrap();
        if own.covers(&other) && other.allows(&method, &clean, body) {
            prop_assert!(own.allows(&method, &clean, body), "{own} {other} {method} {path}");
        }
    }

    #[test]
    fn nothing_suspicious_passes_any_rule(pieces in prop::collection::vec(piece(), 0..12), method in "GET|POST|DELETE") {
        let path = format!("/{}", pieces.concat());
        prop_assert!(!suspicious(&path) || !passes(&["* /**"], &method, &path), "{path:?}");
    }

    #[test]
    fn any_text_is_a_path_or_a_flaw(path in "\\PC*", method in "\\PC*", text in "\\PC*") {
        let _ = CleanPath::parse(&path);
        let asked = Asked { provider: &text, endpoint: &text, method: &method, path: &path, body: false, target: Some(&text) };
        let refusal = Policy::new(Some(Vec::new()), None).check(&asked).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
        let called = Called { provider: &text, endpoint: &text, method: &path };
        let refusal = Policy::new(Some(Vec::new()), None).check_call(&called).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn a_call_passes_the_rules_that_name_it_or_its_service_and_no_others(
        path in "/[a-z.*/]{1,12}", method in "/[a-z]{1,2}\\.[a-z]{1,2}/[a-z]{1,2}",
    ) {
        let service = method.rsplit_once('/').unwrap().0;
        let wide = format!("{service}/*");
        prop_assert!(rule(&method).allows_call(&method) && rule(&wide).allows_call(&method));
        if let Ok(other) = path.parse::<Rule>() {
            prop_assert_eq!(other.allows_call(&method), path == method || path == wide);
            prop_assert!(!other.allows("POST", &CleanPath::parse(&method).unwrap(), false));
        }
    }

    #[test]
    fn what_passes_a_rule_passes_the_wider_one(segments in prop::collection::vec("[a-z]{1,4}", 1..5), at in 0usize..5) {
        let path = format!("/{}", segments.join("/"));
        let exact = format!("GET {path}");
        let mut wider = segments.clone();
        let at = at % wider.len();
        wider[at] = "*".to_owned();
        let wider = format!("GET /{}", wider.join("/"));
        prop_assert!(passes(&[&exact], "GET", &path) && passes(&[&wider], "GET", &path));
        let clean = CleanPath::parse(&path).unwrap();
        prop_assert!(rule(&wider).allows("GET", &clean, false));
        prop_assert!(!rule(&wider).allows("POST", &clean, false));
    }

    #[test]
    fn no_advice_allows_more_than_a_rule_for_this_path_and_its_like(
        segments in prop::collection::vec("[a-z*%?#0-9 .-]{1,5}", 1..5),
        other in prop::collection::vec("[a-z]{1,3}", 1..6),
    ) {
        let encoded: Vec<String> = segments
            .iter()
            .map(|segment| {
                let escape = |c: char| match c {
                    '%' | '?' | '#' | ' ' => format!("%{:02X}", c as u32),
                    c => c.to_string(),
                };
                segment.chars().map(escape).collect()
            })
            .collect();
        let path = format!("/{}", encoded.join("/"));
        if let Ok(clean) = CleanPath::parse(&path)
            && let Some(suggested) = suggestion(&asked("GET", &path), &clean)
        {
            let suggested = rule(&suggested);
            prop_assert!(suggested.allows("GET", &clean, false), "{suggested} for {path}");
            prop_assert!(!suggested.rest, "{suggested} for {path}");
            // It lets another path pass only where each segment is the same or names one thing.
            let other = CleanPath { segments: other };
            if suggested.allows("GET", &other, false) {
                prop_assert_eq!(other.segments.len(), clean.segments.len());
                let plain = |segment: &str| segment.bytes().all(|b| b.is_ascii_lowercase());
                for (index, (theirs, ours)) in other.segments.iter().zip(&clean.segments).enumerate() {
                    let one_of_many = index > 0 && clean.segments[index - 1].ends_with('s');
                    prop_assert!(theirs == ours || one_of_many || !plain(ours));
                }
            }
        }
    }
}

/// The harness of the SDK reads the same cases.
#[test]
fn the_harness_for_providers_says_the_same() {
    let cases = include_str!("../../../../provider-sdk/src/testing/cases.txt");
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = case.split(" | ").collect();
        let [verdict, text, request] = parts[..] else { panic!("{case}") };
        let (method, path) = request.split_once(' ').unwrap();
        if method == "gRPC" {
            let called = Called { provider: "docker", endpoint: "engine", method: path };
            let passes = Policy::new(Some(vec![rule(text)]), None).check_call(&called).is_ok();
            assert_eq!(passes, verdict == "pass", "{case}");
            continue;
        }
        let body = method.ends_with("+body");
        let path = path.replace('^', "\t");
        let asked = Asked { body, ..asked(method.trim_end_matches("+body"), &path) };
        let passes = Policy::new(Some(vec![rule(text)]), None).check(&asked).is_ok();
        assert_eq!(passes, verdict == "pass", "{case}");
    }
}
