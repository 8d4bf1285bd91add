use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn passes(rules: &[&str], method: &str, path: &str) -> bool {
    sent(rules, method, path, false)
}

fn sent(rules: &[&str], method: &str, path: &str, body: bool) -> bool {
    let Ok(clean) = NormalizedPath::parse(path) else { return false };
    rules.iter().any(|text| rule(text).allows(method, &clean, body))
}

fn suggested(method: &str, path: &str, target: Option<&str>) -> Option<String> {
    let clean = NormalizedPath::parse(path).unwrap();
    Rule::suggest(method, &clean, false, target).map(|rule| rule.to_string())
}

#[test]
fn a_body_needs_a_rule_with_body() {
    let with_body = |rules: &[&str]| sent(rules, "POST", "/v1.23/containers/web/start", true);
    assert!(!with_body(&["POST /*/containers/*/start", "* /**"]));
    assert!(with_body(&["POST+body /*/containers/*/start"]) && with_body(&["*+body /**"]));
    assert!(!with_body(&["PUT+body /**"]));
    assert!(passes(&["POST+body /x"], "POST", "/x"), "it may have one and need not");
}

#[test]
fn a_star_is_exactly_one_segment() {
    let rules = &["POST /containers/*/start"];
    assert!(passes(rules, "POST", "/containers/blog/start"));
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
fn paths_with_several_interpretations_are_refused() {
    let cases = [
        ("containers/json", InvalidPath::NoSlash),
        ("", InvalidPath::NoSlash),
        ("http://elsewhere/x", InvalidPath::NoSlash),
        ("/containers/../exec", InvalidPath::DotSegment),
        ("/containers/./exec", InvalidPath::DotSegment),
        ("/containers/..;/exec", InvalidPath::DotSegment),
        ("/containers/%2e%2e/exec", InvalidPath::EncodedDot),
        ("/containers/.%2E/exec", InvalidPath::EncodedDot),
        ("/containers/a%2Fb/exec", InvalidPath::EncodedSlash),
        ("/containers/a%2fb/exec", InvalidPath::EncodedSlash),
        ("/containers//exec", InvalidPath::EmptySegment),
        ("//containers", InvalidPath::EmptySegment),
        ("/containers/", InvalidPath::EmptySegment),
        ("/containers\\..\\exec", InvalidPath::Backslash),
        ("/containers/%5c/exec", InvalidPath::Backslash),
        ("/containers/a\r\nX: y", InvalidPath::Control),
        ("/containers/a%00", InvalidPath::Control),
        ("/containers/a%0d%0aX", InvalidPath::Control),
        ("/containers/a?b\nc", InvalidPath::Control),
        ("/containers/%252e%252e/x", InvalidPath::Encoding),
        ("/containers/%2", InvalidPath::Encoding),
        ("/containers/%zz", InvalidPath::Encoding),
        ("/containers/%ff", InvalidPath::Encoding),
        ("/containers/a b", InvalidPath::Raw),
        ("/containers/a#b", InvalidPath::Raw),
        ("/containers/a;b=c/json", InvalidPath::Parameters),
        ("/containers/create;x", InvalidPath::Parameters),
        ("/containers/..%20/exec", InvalidPath::DotSegment),
        ("/containers/.../exec", InvalidPath::DotSegment),
        ("/containers/é", InvalidPath::Raw),
    ];
    for (path, flaw) in cases {
        assert_eq!(NormalizedPath::parse(path), Err(flaw), "{path:?}");
    }
}

#[test]
fn a_rule_covers_narrower_rules() {
    for (rule_text, covered) in [
        ("GET /a/*", vec!["GET /a/*", "GET /a/b"]),
        ("* /a/**", vec!["GET /a", "POST /a/b", "GET /a/*/c", "DELETE /a/b/**"]),
        ("*+body /**", vec!["PUT+body /x", "GET /"]),
        ("/a.v1.Tasks/*", vec!["/a.v1.Tasks/Kill", "/a.v1.Tasks/*"]),
        ("GET /a?*", vec!["GET /a", "GET /a?*", "GET /a?b=*"]),
        ("GET /a?b=*&c=d*", vec!["GET /a", "GET /a?c=dd*", "GET /a?c=de&b=", "GET /a?b=x*"]),
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
        ("GET /a", vec!["GET /a?*", "GET /a?b=*"]),
        (
            "GET /a?c=d*&e=f",
            vec!["GET /a?*", "GET /a?c=*", "GET /a?c=d/../x", "GET /a?e=f*", "GET /a?g="],
        ),
    ] {
        for text in beyond {
            assert!(!rule(rule_text).covers(&rule(text)), "{rule_text} does not cover {text}");
        }
    }
}

#[test]
fn the_suggested_rule_allows_the_request() {
    for path in [
        "/",
        "/_ping",
        "/v1.41/containers/x/exec",
        "/a/b",
        "/nodes/n1/lxc/104/status/start",
        "/?a=b",
        "/a?x=%22&y&z=1%2B1&%C3%A9=%C3%A9",
    ] {
        let clean = NormalizedPath::parse(path).unwrap();
        let suggested = Rule::suggest("POST", &clean, false, None).unwrap();
        assert!(rule(&suggested.to_string()).allows("POST", &clean, false), "{path}");
    }
}

#[test]
fn a_suggestion_generalizes_ids_but_not_hosts_and_switches() {
    for (path, expected) in [
        ("/v1.41/containers/web/stop?t=10&signal=SIGINT", "/*/containers/*/stop?t=*&signal=SIGINT"),
        ("/containers/web?force=1&v=1", "/containers/*?force=1&v=1"),
        ("/events?since=1733050000.12&for=web", "/events?since=*&for=*"),
        (
            "/images/create?fromImage=10.0.0.1%3A5000%2Fx&tag=latest",
            "/images/create?fromImage=10.0.0.1:5000/x&tag=latest",
        ),
        ("/v1.41/distribution/lan2:5000/x:1.2/json", "/*/distribution/lan2:5000/x:1.2/json"),
        ("/servers/web?access_token=s3cret", "/servers/web?access_token=*"),
    ] {
        let suggested = suggested("POST", path, Some("web"));
        let expected = expected.replace("/servers/web", "/servers/*");
        assert_eq!(suggested.as_deref(), Some(format!("POST {expected}").as_str()), "{path}");
    }
    for path in
        ["/a?b=c%26d", "/a?b=c%2A", "/a?b=%25", "/a?b*=1", "/a%3Fb", "/%2A", "/a?a=b+c", "/a?"]
    {
        assert_eq!(suggested("GET", path, None), None, "{path}: no rule names it alone");
    }
}

#[test]
fn invalid_rules_are_refused() {
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
        "GET /a?",
        "GET /a?=b",
        "GET /a?b=1&",
        "GET /a?b=1&b=2",
        "GET /a?b=1&B=2",
        "GET /a?b=*c",
        "GET /a?b=c**",
        "GET /a?b*=c",
        "GET /a?*&b=c",
        "GET /a?b=%20",
        "GET /a?b=c?d",
        "GET /a?b=c#d",
        "GET /**?",
        "CONNECT /",
        "TRACE /",
        "TRACK+body /",
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
fn a_rule_round_trips() {
    for text in [
        "GET /",
        "* /**",
        "POST /containers/*/start",
        "GET /a b/**",
        "*+body /**",
        "PUT+body /a",
        "GET /?*",
        "GET /**?*",
        "* /a/*?b=&c=*&d=e*&f=g=h",
        "/a.v1.Tasks/*",
        "/a.v1.Tasks/Get",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
}

/// Fragments of path traversal tricks, mixed with harmless ones.
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

/// Returns whether any lenient parser could misinterpret the path.
fn suspicious(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap();
    let lower = path.to_ascii_lowercase();
    let segments = || path.split('/').skip(1).map(|s| s.split(';').next().unwrap());
    path.contains("//")
        || (path.len() > 1 && path.ends_with('/'))
        || path.contains(['\\', ';'])
        || path_and_query.chars().any(char::is_control)
        || ["%2e", "%2f", "%5c", "%0", "%1", "%7f"].iter().any(|trick| lower.contains(trick))
        || segments().any(|segment| matches!(segment, "." | ".."))
}

/// Fuzzed; its corpus is replayed. A line with a rule, and one with the path.
#[test]
fn fuzzed_paths_pass_no_rule_that_they_only_seem_to_fit() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let (text, path) = text.split_once('\n').unwrap_or(("GET /a/*", text));
        assert!(!suspicious(path) || !passes(&["* /**?*"], "GET", path), "{path:?}");
        let Ok(rule) = text.parse::<Rule>() else { return };
        assert_eq!(rule.to_string(), text);
        let Ok(clean) = NormalizedPath::parse(path) else { return };
        if rule.allows("GET", &clean, false) {
            assert!(text.starts_with("GET") || text.starts_with('*'), "{text:?} for {path:?}");
            assert!(clean.segments.len() >= rule.segments.len());
            let (asked, said) = (path.split_once('?'), text.split_once('?'));
            // Each key of the request is in the rule, unless any query is allowed.
            if let (Some((_, query)), Some((_, said))) = (asked, said.filter(|it| it.1 != "*")) {
                assert!(
                    query.matches('&').count() <= said.matches('&').count(),
                    "{text:?} for {path:?}"
                );
                assert!(!query.contains(['+', ';', '?']), "{text:?} for {path:?}");
            } else {
                assert!(asked.is_none() || said.is_some(), "{text:?} for {path:?}");
            }
        }
    });
}

fn rule_text() -> impl Strategy<Value = String> {
    let path = "(GET|POST|\\*)(\\+body)? (/|((/[ab*]){1,3}|(/[ab*]){0,2}/\\*\\*))";
    (path, query_text()).prop_map(|(path, query)| path + &query)
}

/// No query, any query, or up to three keys with values of each kind.
fn query_text() -> impl Strategy<Value = String> {
    let value = || "(\\*|[xy/.]{0,2}|[xy/.]{1,2}\\*)";
    let keys = (value(), value(), value(), 1usize..8).prop_map(|(k, l, m, which)| {
        let all = [format!("k={k}"), format!("l={l}"), format!("m={m}")];
        let kept = all.iter().enumerate().filter(|(index, _)| which & 1 << index != 0);
        format!("?{}", kept.map(|(_, pair)| pair.as_str()).collect::<Vec<_>>().join("&"))
    });
    prop_oneof![Just(String::new()), Just("?*".to_owned()), keys]
}

/// The query of a request over the same keys and an unknown one.
fn request_query() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[klmn]", "[xy/.]{0,3}"), 0..4)
}

/// Encoded as a provider would, or with every byte percent-encoded.
fn encoded(pairs: &[(String, String)], all: bool) -> String {
    let escape = |text: &str| match all {
        true => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        false => text.to_owned(),
    };
    let pairs = pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    let pairs = pairs.collect::<Vec<_>>().join("&");
    if pairs.is_empty() { pairs } else { format!("?{pairs}") }
}

proptest! {
    #[test]
    fn a_covering_rule_allows_what_the_covered_one_allows(
        own in rule_text(), other in rule_text(), method in "GET|POST", path in "(/[ab]){0,3}", body: bool,
        query in request_query(),
    ) {
        let (own, other) = (rule(&own), rule(&other));
        let path = if path.is_empty() { "/".to_owned() } else { path } + &encoded(&query, false);
        let clean = NormalizedPath::parse(&path).unwrap();
        if own.covers(&other) && other.allows(&method, &clean, body) {
            prop_assert!(own.allows(&method, &clean, body), "{own} {other} {method} {path}");
        }
    }

    #[test]
    fn nothing_suspicious_passes_any_rule(pieces in prop::collection::vec(piece(), 0..12), method in "GET|POST|DELETE") {
        let path = format!("/{}", pieces.concat());
        prop_assert!(!suspicious(&path) || !passes(&["* /**?*"], &method, &path), "{path:?}");
    }

    #[test]
    fn any_text_is_parsed_or_refused(path in "\\PC*", method in "\\PC*", text in "\\PC*") {
        if let Ok(clean) = NormalizedPath::parse(&path)
            && let Some(suggested) = Rule::suggest(&method, &clean, false, Some(&text))
        {
            prop_assert!(suggested.allows(&method, &clean, false));
        }
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string(), text);
        }
    }

    /// An independent implementation of the same check.
    #[test]
    fn a_query_is_allowed_if_each_key_is_unique_and_each_value_matches(
        text in query_text(), query in request_query(), all: bool,
    ) {
        let path = format!("/a{}", encoded(&query, all));
        let named: Vec<(&str, &str)> =
            text.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('=')).collect();
        let fits = |(key, value): &(String, String)| {
            named.iter().any(|(own, pattern)| own == key && match pattern.strip_suffix('*') {
                Some("") => true,
                Some(prefix) => value.starts_with(prefix)
                    && !value.split('/').any(|segment| segment == "." || segment == ".."),
                None => value == pattern,
            })
        };
        let once = query.iter().all(|(key, _)| query.iter().filter(|(it, _)| it == key).count() == 1);
        let expected = text == "?*" || once && query.iter().all(fits);
        prop_assert_eq!(passes(&[&format!("GET /a{text}")], "GET", &path), expected, "{} {}", text, path);
        // The order of the keys does not matter.
        let mut turned = query.clone();
        turned.reverse();
        let turned = format!("/a{}", encoded(&turned, !all));
        prop_assert_eq!(passes(&[&format!("GET /a{text}")], "GET", &turned), expected, "{} {}", text, turned);
    }

    /// Variations of a key that no rule names: repeated, behind a separator, encoded.
    #[test]
    fn no_encoding_gets_another_key_past_a_rule(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "fromImage=reg/x", "&", ";", "?", "%26", "%3B", "fromSrc=http://evil", "fromImage=evil/x", "=",
            "%66romSrc=x", "FROMIMAGE=evil/x", "fromImage[]=evil/x", "tag=1", "+", "%2B", "%00", "%2526", "reg/../evil",
            "%c0%80", " ", "#", "*",
        ]), 0..8),
    ) {
        let query = pieces.concat();
        if passes(&["POST /images/create?fromImage=reg/*&tag=*"], "POST", &format!("/images/create?{query}")) {
            // Anything that a server could take for another pair.
            let pairs: Vec<&str> = query.split(['&', ';', '?']).collect();
            let keys: Vec<&str> = pairs.iter().map(|pair| pair.split('=').next().unwrap()).collect();
            let count = |wanted: &str| keys.iter().filter(|key| **key == wanted).count();
            prop_assert_eq!(count("fromImage") + count("tag"), keys.len(), "{}", query);
            prop_assert!(count("fromImage") <= 1 && count("tag") <= 1, "{}", query);
            let image = pairs.iter().find_map(|pair| pair.strip_prefix("fromImage="));
            prop_assert!(image.is_none_or(|image| image.starts_with("reg/") && !image.contains("..")), "{}", query);
        }
    }

    #[test]
    fn a_call_is_allowed_only_by_rules_for_it_or_its_service(
        path in "/[a-z.*/]{1,12}", method in "/[a-z]{1,2}\\.[a-z]{1,2}/[a-z]{1,2}",
    ) {
        let service = method.rsplit_once('/').unwrap().0;
        let wide = format!("{service}/*");
        prop_assert!(rule(&method).allows_call(&method) && rule(&wide).allows_call(&method));
        if let Ok(other) = path.parse::<Rule>() {
            prop_assert_eq!(other.allows_call(&method), path == method || path == wide);
            prop_assert!(!other.allows("POST", &NormalizedPath::parse(&method).unwrap(), false));
        }
    }

    #[test]
    fn a_wider_rule_allows_what_a_narrower_one_allows(segments in prop::collection::vec("[a-z]{1,4}", 1..5), at in 0usize..5) {
        let path = format!("/{}", segments.join("/"));
        let exact = format!("GET {path}");
        let mut wider = segments.clone();
        let at = at % wider.len();
        wider[at] = "*".to_owned();
        let wider = format!("GET /{}", wider.join("/"));
        prop_assert!(passes(&[&exact], "GET", &path) && passes(&[&wider], "GET", &path));
        let clean = NormalizedPath::parse(&path).unwrap();
        prop_assert!(rule(&wider).allows("GET", &clean, false));
        prop_assert!(!rule(&wider).allows("POST", &clean, false));
    }

    #[test]
    fn a_suggestion_allows_only_this_path_and_similar_ones(
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
        if let Ok(clean) = NormalizedPath::parse(&path)
            && let Some(suggested) = Rule::suggest("GET", &clean, false, None)
        {
            prop_assert!(suggested.allows("GET", &clean, false), "{suggested} for {path}");
            prop_assert!(!suggested.rest, "{suggested} for {path}");
            // It allows another path only where each segment is equal or variable.
            let other = NormalizedPath { segments: other, query: RequestQuery::None };
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

#[test]
fn each_case_is_allowed_or_refused() {
    for case in include_str!("cases.txt").lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = case.split(" | ").collect();
        let [verdict, text, request] = parts[..] else { panic!("{case}") };
        let (method, path) = request.split_once(' ').unwrap();
        let passes = match method {
            "gRPC" => rule(text).allows_call(path),
            _ => {
                let path = path.replace('^', "\t");
                sent(&[text], method.trim_end_matches("+body"), &path, method.ends_with("+body"))
            }
        };
        assert_eq!(passes, verdict == "pass", "{case}");
    }
}

#[test]
fn no_rule_allows_trace_and_connect() {
    for method in ["TRACE", "TRACK", "CONNECT"] {
        assert!(!passes(&["* /**?*", "*+body /**?*"], method, "/"), "{method}");
        assert!(format!("{method} /").parse::<Rule>().is_err(), "{method}");
    }
}

#[test]
fn an_ambiguous_query_is_allowed_only_by_any_query() {
    for (query, flaw) in [
        ("", InvalidQuery::Empty),
        ("a=1&a=2", InvalidQuery::DuplicateKey),
        ("a=1&%61=2", InvalidQuery::DuplicateKey),
        ("a=1&A=2", InvalidQuery::DuplicateKey),
        ("a=1&&b=2", InvalidQuery::EmptyKey),
        ("=1", InvalidQuery::EmptyKey),
        ("a=1;b=2", InvalidQuery::Semicolon),
        ("a=1+2", InvalidQuery::Plus),
        ("a=1?b=2", InvalidQuery::QuestionMark),
        ("a=%2", InvalidQuery::Encoding),
        ("a=%ff", InvalidQuery::Encoding),
        ("a=%2541", InvalidQuery::Encoding),
        ("a=%00", InvalidQuery::Control),
        ("a=1%0d%0aX", InvalidQuery::Control),
    ] {
        let path = format!("/x?{query}");
        let clean = NormalizedPath::parse(&path).unwrap();
        assert_eq!(clean.query(), &RequestQuery::Ambiguous(flaw), "{query}");
        assert!(!passes(&["GET /x", "GET /x?a=*&b=*"], "GET", &path), "{query}");
        assert!(passes(&["GET /x?*"], "GET", &path), "{query}");
    }
}
