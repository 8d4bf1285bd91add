use proptest::prelude::*;

use super::*;

const HOME: &str = "192.168.1.20";
const AWAY: &str = "203.0.113.9";

fn request<'a>(method: &'a str, path: &'a str, agent: &'a str) -> RequestAttributes<'a> {
    RequestAttributes { method, path, user_agent: agent.as_bytes(), is_navigation: false }
}

fn paths(patterns: &[&str]) -> Vec<PathGlob> {
    patterns.iter().map(|pattern| PathGlob::parse(pattern).unwrap()).collect()
}

fn agents(patterns: &[&str]) -> Vec<AgentGlob> {
    patterns.iter().map(|pattern| AgentGlob::parse(pattern).unwrap()).collect()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn deny_wake(
    rules: &WakeRules,
    request: RequestAttributes<'_>,
    client: &str,
) -> Option<WakeDenied> {
    rules.deny_wake(&request, client.parse().unwrap())
}

#[test]
fn without_rules_every_request_wakes() {
    let rules = WakeRules::default();
    assert!(rules.allows_everyone());
    assert_eq!(deny_wake(&rules, request("BREW", "/any", ""), AWAY), None);
}

#[test]
fn each_rule_must_allow_the_request() {
    let rules = WakeRules {
        paths: paths(&["/", "/app/*"]),
        methods: vec!["GET".into(), "HEAD".into()],
        from: nets(&["192.168.0.0/16", "2001:db8::/32"]),
        agents: agents(&["Mozilla/*"]),
        ..WakeRules::default()
    };
    assert!(!rules.allows_everyone());
    let browser = "Mozilla/5.0";
    assert_eq!(deny_wake(&rules, request("GET", "/", browser), HOME), None);
    assert_eq!(deny_wake(&rules, request("HEAD", "/app/x", browser), "2001:db8::5"), None);
    assert_eq!(deny_wake(&rules, request("GET", "/other", browser), HOME), Some(WakeDenied::Path));
    assert_eq!(deny_wake(&rules, request("POST", "/", browser), HOME), Some(WakeDenied::Method));
    assert_eq!(deny_wake(&rules, request("GET", "/", browser), AWAY), Some(WakeDenied::Address));
    assert_eq!(deny_wake(&rules, request("GET", "/", "curl/8"), HOME), Some(WakeDenied::UserAgent));
    assert_eq!(deny_wake(&rules, request("GET", "/", ""), HOME), Some(WakeDenied::UserAgent));
}

#[test]
fn exceptions_override_permissions() {
    let rules = WakeRules {
        from: nets(&["192.168.0.0/16"]),
        not_from: nets(&["192.168.1.0/24"]),
        agents: agents(&["*"]),
        not_agents: agents(&["*curl*"]),
        ..WakeRules::default()
    };
    assert_eq!(deny_wake(&rules, request("GET", "/", "x"), "192.168.2.1"), None);
    assert_eq!(deny_wake(&rules, request("GET", "/", "x"), HOME), Some(WakeDenied::Address));
    assert_eq!(
        deny_wake(&rules, request("GET", "/", "libcurl"), "192.168.2.1"),
        Some(WakeDenied::UserAgent)
    );
    let only_exceptions = WakeRules { not_from: nets(&["10.0.0.0/8"]), ..WakeRules::default() };
    assert_eq!(deny_wake(&only_exceptions, request("GET", "/", ""), HOME), None);
    assert_eq!(
        deny_wake(&only_exceptions, request("GET", "/", ""), "10.1.1.1"),
        Some(WakeDenied::Address)
    );
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client() {
    let rules = WakeRules { from: nets(&["192.168.0.0/16"]), ..WakeRules::default() };
    assert_eq!(deny_wake(&rules, request("GET", "/", ""), "::ffff:192.168.1.1"), None);
}

#[test]
fn a_health_check_is_matched_by_path_or_user_agent_or_both() {
    let check = |path: Option<&str>, agent: Option<&str>, status, counts_as_visit| HealthCheck {
        path: path.map(|path| PathGlob::parse(path).unwrap()),
        agent: agent.map(|agent| AgentGlob::parse(agent).unwrap()),
        status,
        counts_as_visit,
    };
    let rules = WakeRules {
        health_checks: vec![
            check(Some("/healthz"), None, 204, false),
            check(Some("/ping/*"), Some("monitor/*"), 200, true),
            check(None, Some("ELB-HealthChecker/*"), 200, false),
        ],
        ..WakeRules::default()
    };
    let status = |request: RequestAttributes<'_>| {
        rules.local_response(&request).map(|local| (local.status, local.counts_as_visit))
    };
    assert_eq!(status(request("GET", "/healthz", "any")), Some((204, false)));
    assert_eq!(status(request("GET", "/ping/a", "monitor/1")), Some((200, true)));
    assert_eq!(status(request("GET", "/ping/a", "other")), None);
    assert_eq!(status(request("GET", "/", "ELB-HealthChecker/2.0")), Some((200, false)));
    assert_eq!(status(request("GET", "/", "other")), None);
}

#[test]
fn an_icon_or_robots_file_wakes_only_if_a_person_or_a_rule_names_it() {
    let rules = WakeRules::default();
    let icon = rules.local_response(&request("GET", "/favicon.ico", "Mozilla/5.0"));
    assert_eq!(
        icon,
        Some(LocalResponse { status: 404, retry_later: false, counts_as_visit: false })
    );
    let robots = rules.local_response(&request("GET", "/robots.txt", "Googlebot/2.1"));
    assert_eq!(
        robots,
        Some(LocalResponse { status: 503, retry_later: true, counts_as_visit: false })
    );
    for path in ["/favicon.ico", "/robots.txt"] {
        let person =
            RequestAttributes { is_navigation: true, ..request("GET", path, "Mozilla/5.0") };
        assert_eq!(rules.local_response(&person), None, "{path}");
        let named = WakeRules { paths: paths(&["/", path]), ..WakeRules::default() };
        assert_eq!(named.local_response(&request("GET", path, "")), None, "{path}");
        let below = WakeRules { paths: paths(&["/*"]), ..WakeRules::default() };
        assert!(below.local_response(&request("GET", path, "")).is_some(), "{path}");
        assert!(rules.may_respond_locally(path));
    }
    assert_eq!(rules.local_response(&request("GET", "/app/favicon.ico", "")), None);
    assert!(!rules.may_respond_locally("/"));
}

#[test]
fn bots_wake_unless_they_are_ignored() {
    let ignoring = WakeRules { bots: Bots::Ignore, ..WakeRules::default() };
    for bot in [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "facebookexternalhit/1.1",
        "WhatsApp/2.23.20.0",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "Uptime-Kuma/1.23.11",
        "Better Uptime Bot Mozilla/5.0",
        "kube-probe/1.29",
        "Blackbox Exporter/0.24.0",
        "Baiduspider/2.0",
    ] {
        let request = request("GET", "/", bot);
        assert_eq!(WakeRules::default().local_response(&request), None, "{bot}");
        let ignored =
            Some(LocalResponse { status: 503, retry_later: true, counts_as_visit: false });
        assert_eq!(ignoring.local_response(&request), ignored, "{bot}");
    }
    for person in [
        "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/96 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari",
        "curl/8.5.0",
        "robotics-lab/1.0",
        "",
    ] {
        assert_eq!(ignoring.local_response(&request("GET", "/", person)), None, "{person}");
    }
}

proptest! {
    /// Adding a rule never allows more requests to wake.
    #[test]
    fn an_exception_never_allows_more_requests(
        octets: [u8; 4],
        net in 0u8..=32,
        path in "/[a-z]{0,3}",
        agent in "[a-z]{0,5}",
    ) {
        let client = IpAddr::from(octets);
        let request = request("GET", &path, &agent);
        let open = WakeRules { from: nets(&["0.0.0.0/0"]), ..WakeRules::default() };
        prop_assert_eq!(open.deny_wake(&request, client), None);
        let own = IpNet::new(client, net).unwrap();
        let excepted = WakeRules { not_from: vec![own], ..open.clone() };
        prop_assert_eq!(excepted.deny_wake(&request, client), Some(WakeDenied::Address));
        let narrow = WakeRules { from: vec![own], ..open };
        prop_assert_eq!(narrow.deny_wake(&request, client), None);
    }

    #[test]
    fn a_path_without_local_responses_gets_none(path in "/[a-z.]{0,12}", agent in "\\PC{0,20}") {
        let rules = WakeRules::default();
        if !rules.may_respond_locally(&path) {
            prop_assert_eq!(rules.local_response(&request("GET", &path, &agent)), None);
        }
    }
}
