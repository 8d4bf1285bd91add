use proptest::prelude::*;

use super::*;

fn path(pattern: &str) -> PathGlob {
    PathGlob::parse(pattern).unwrap()
}

fn agent(pattern: &str, agent: &str) -> bool {
    AgentGlob::parse(pattern).unwrap().fits(agent.as_bytes())
}

#[test]
fn a_path_without_a_star_is_that_path_alone() {
    assert!(path("/app").fits("/app"));
    assert!(path("/app").fits("/%61pp") && path("/caf%c3%a9").fits("/caf%C3%A9"));
    for other in ["/app/", "/app/x", "/apple", "/", "/APP", "/app;x", "/app%2F"] {
        assert!(!path("/app").fits(other), "{other}");
    }
}

#[test]
fn a_path_with_a_star_is_everything_below() {
    for below in ["/app/", "/app/x", "/app/x/y", "/app/..x", "/app/.well-known/a", "/app/..."] {
        assert!(path("/app/*").fits(below), "{below}");
    }
    for other in ["/app", "/apple/x", "/", "/other/app/x"] {
        assert!(!path("/app/*").fits(other), "{other}");
    }
    assert!(path("/*").fits("/") && path("/*").fits("/any/thing"));
}

#[test]
fn a_path_is_below_what_every_server_takes_it_to_be_below() {
    for elsewhere in [
        "/app/../admin",
        "/app/..",
        "/app/%2e%2e/admin",
        "/app/.%2E/admin",
        "/app/..\\admin",
        "/app/..;/admin",
        "/app/..%2fadmin",
    ] {
        assert!(!path("/app/*").fits(elsewhere), "{elsewhere}");
    }
    for below in ["/app/./x", "/app/x/%2e", "/app/x/..", "/x/../app/y", "//app//y", "/app/a%2Fb"] {
        assert!(path("/app/*").fits(below), "{below}");
    }
}

#[test]
fn patterns_that_no_path_fits_are_refused() {
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
fn of_an_endless_user_agent_only_the_first_kilobyte_is_looked_at() {
    let agent = |filling: usize| format!("{}needle", "x".repeat(filling));
    let glob = AgentGlob::parse("*needle*").unwrap();
    assert!(glob.fits(agent(1000).as_bytes()));
    assert!(!glob.fits(agent(1 << 20).as_bytes()));
}

#[test]
fn user_agent_patterns_that_nobody_fits_are_refused() {
    assert!(AgentGlob::parse("").is_err());
    assert!(AgentGlob::parse("a\nb").is_err());
    assert!(AgentGlob::parse(&"x".repeat(300)).is_err());
}

/// As the pattern reads, without regard to cost.
fn plainly(pattern: &[u8], agent: &[u8]) -> bool {
    match pattern {
        [] => agent.is_empty(),
        [b'*', rest @ ..] => (0..=agent.len()).any(|skip| plainly(rest, &agent[skip..])),
        [wanted, rest @ ..] => match agent {
            [first, after @ ..] => first.eq_ignore_ascii_case(wanted) && plainly(rest, after),
            [] => false,
        },
    }
}

/// Where a path leads, with its dots followed.
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

/// To be fuzzed: its corpus is replayed.
#[test]
fn fuzzed_paths_fit_no_pattern_that_they_do_not_stay_below() {
    let glob = PathGlob::parse("/app/*").unwrap();
    bolero::check!().for_each(|asked: &[u8]| {
        let Ok(asked) = std::str::from_utf8(asked) else { return };
        if asked.starts_with('/') && glob.fits(asked) {
            assert!(resolved(asked).starts_with("/app/"), "{asked:?}");
        }
        let _ = PathGlob::parse(asked).map(|glob| glob.fits(asked));
        let _ = AgentGlob::parse(asked).map(|glob| glob.fits(asked.as_bytes()));
    });
}

proptest! {
    #[test]
    fn user_agent_patterns_mean_what_they_say(pattern in "[aB*]{1,8}", agent in "[Aab]{0,10}") {
        let glob = AgentGlob::parse(&pattern).unwrap();
        prop_assert_eq!(glob.fits(agent.as_bytes()), plainly(pattern.as_bytes(), agent.as_bytes()));
    }

    #[test]
    fn any_bytes_can_be_a_user_agent(pattern in "[ -~]{1,30}", agent: Vec<u8>) {
        let glob = AgentGlob::parse(&pattern).unwrap();
        let _ = glob.fits(&agent);
        prop_assert!(AgentGlob::parse("*").unwrap().fits(&agent));
    }

    #[test]
    fn what_is_below_stays_below(base in "/[a-z]{1,4}(/[a-z]{1,4}){0,2}", rest in "[a-z./%2eE]{0,12}") {
        let glob = PathGlob::parse(&format!("{base}/*")).unwrap();
        let asked = format!("{base}/{rest}");
        prop_assert_eq!(glob.fits(&asked), resolved(&asked).starts_with(&format!("{base}/")));
        prop_assert!(!glob.fits(&base));
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
