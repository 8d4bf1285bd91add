use proptest::prelude::*;

use super::*;

fn path(pattern: &str) -> PathGlob {
    PathGlob::parse(pattern).unwrap()
}

fn agent(pattern: &str, agent: &str) -> bool {
    AgentGlob::parse(pattern).unwrap().matches(agent.as_bytes())
}

#[test]
fn a_path_without_a_star_matches_that_path_only() {
    assert!(path("/app").matches("/app"));
    assert!(path("/app").matches("/%61pp") && path("/caf%c3%a9").matches("/caf%C3%A9"));
    for other in ["/app/", "/app/x", "/apple", "/", "/APP", "/app;x", "/app%2F"] {
        assert!(!path("/app").matches(other), "{other}");
    }
}

#[test]
fn a_path_with_a_star_matches_every_path_below() {
    for below in ["/app/", "/app/x", "/app/x/y", "/app/..x", "/app/.well-known/a", "/app/..."] {
        assert!(path("/app/*").matches(below), "{below}");
    }
    for other in ["/app", "/apple/x", "/", "/other/app/x"] {
        assert!(!path("/app/*").matches(other), "{other}");
    }
    assert!(path("/*").matches("/") && path("/*").matches("/any/thing"));
}

#[test]
fn a_path_matches_only_if_every_interpretation_matches() {
    for elsewhere in [
        "/app/../admin",
        "/app/..",
        "/app/%2e%2e/admin",
        "/app/.%2E/admin",
        "/app/..\\admin",
        "/app/..;/admin",
        "/app/..%2fadmin",
    ] {
        assert!(!path("/app/*").matches(elsewhere), "{elsewhere}");
    }
    for below in ["/app/./x", "/app/x/%2e", "/app/x/..", "/x/../app/y", "//app//y", "/app/a%2Fb"] {
        assert!(path("/app/*").matches(below), "{below}");
    }
}

#[test]
fn patterns_that_match_no_path_are_refused() {
    for wrong in [
        "", "app", "*", "/app*", "/*/x", "/a/*/*", "/a?b", "/a#b", "/a b", "/ä", "/../x", "/a/.",
        "/a//b", "/a;b", "/a%2Fb/*",
    ] {
        assert!(PathGlob::parse(wrong).is_err(), "{wrong}");
    }
    assert!(PathGlob::parse(&format!("/{}", "x".repeat(300))).is_err());
}

#[test]
fn user_agents_are_compared_whole_and_without_case() {
    assert!(agent("curl/*", "curl/8.5.0") && agent("CURL/*", "curl/8.5.0"));
    assert!(agent("curl/*", "Curl/"));
    assert!(!agent("curl/*", "libcurl/8") && !agent("curl", "curl/8"));
    assert!(agent("*uptime*", "Mozilla/5.0 (compatible; UptimeRobot/2.0)"));
    assert!(agent("Mozilla/*(*; a)*b", "Mozilla/5.0 (x; a) aab"));
    assert!(!agent("Mozilla/*(*; a)*b", "Mozilla/5.0 (x; a) aabc"));
    assert!(agent("*", "") && !agent("a*", ""));
}

#[test]
fn only_the_first_kilobyte_of_a_user_agent_is_compared() {
    let agent = |filling: usize| format!("{}needle", "x".repeat(filling));
    let glob = AgentGlob::parse("*needle*").unwrap();
    assert!(glob.matches(agent(1000).as_bytes()));
    assert!(!glob.matches(agent(1 << 20).as_bytes()));
}

#[test]
fn user_agent_patterns_that_match_nothing_are_refused() {
    assert!(AgentGlob::parse("").is_err());
    assert!(AgentGlob::parse("a\nb").is_err());
    assert!(AgentGlob::parse(&"x".repeat(300)).is_err());
}

/// A naive matcher to compare with.
fn matches_naively(pattern: &[u8], agent: &[u8]) -> bool {
    match pattern {
        [] => agent.is_empty(),
        [b'*', rest @ ..] => (0..=agent.len()).any(|skip| matches_naively(rest, &agent[skip..])),
        [wanted, rest @ ..] => match agent {
            [first, after @ ..] => {
                first.eq_ignore_ascii_case(wanted) && matches_naively(rest, after)
            }
            [] => false,
        },
    }
}

/// The path with dot segments resolved.
fn resolved(path: &str) -> String {
    let decoded = path.replace("%2e", ".").replace("%2E", ".");
    let mut resolved: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(resolved.pop()),
            segment => resolved.push(segment),
        }
    }
    let open = matches!(decoded.rsplit('/').next(), Some("" | "." | ".."));
    let last = if open && !resolved.is_empty() { "/" } else { "" };
    format!("/{}{last}", resolved.join("/"))
}

/// Fuzz target; `cargo test` replays its corpus.
#[test]
fn fuzzed_paths_match_no_prefix_that_they_leave() {
    let glob = PathGlob::parse("/app/*").unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(path) = std::str::from_utf8(bytes) else { return };
        if path.starts_with('/') && glob.matches(path) {
            assert!(resolved(path).starts_with("/app/"), "{path:?}");
        }
        let _ = PathGlob::parse(path).map(|glob| glob.matches(path));
        let _ = AgentGlob::parse(path).map(|glob| glob.matches(path.as_bytes()));
    });
}

proptest! {
    #[test]
    fn user_agent_patterns_mean_what_they_say(pattern in "[aB*]{1,8}", agent in "[Aab]{0,10}") {
        let glob = AgentGlob::parse(&pattern).unwrap();
        prop_assert_eq!(glob.matches(agent.as_bytes()), matches_naively(pattern.as_bytes(), agent.as_bytes()));
    }

    #[test]
    fn any_bytes_can_be_a_user_agent(pattern in "[ -~]{1,30}", agent: Vec<u8>) {
        let glob = AgentGlob::parse(&pattern).unwrap();
        let _ = glob.matches(&agent);
        prop_assert!(AgentGlob::parse("*").unwrap().matches(&agent));
    }

    #[test]
    fn what_is_below_stays_below(base in "/[a-z]{1,4}(/[a-z]{1,4}){0,2}", rest in "[a-z./%2eE]{0,12}") {
        let glob = PathGlob::parse(&format!("{base}/*")).unwrap();
        let path = format!("{base}/{rest}");
        prop_assert_eq!(glob.matches(&path), resolved(&path).starts_with(&format!("{base}/")));
        prop_assert!(!glob.matches(&base));
    }

    #[test]
    fn every_text_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok(glob) = PathGlob::parse(&text) {
            prop_assert_eq!(glob.to_string(), text.clone());
        }
        if let Ok(glob) = AgentGlob::parse(&text) {
            prop_assert_eq!(glob.to_string(), text);
        }
    }
}
