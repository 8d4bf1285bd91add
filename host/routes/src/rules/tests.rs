use proptest::prelude::*;

use super::*;

const HOME: &str = "192.168.1.20";
const AWAY: &str = "203.0.113.9";

fn asked<'a>(method: &'a str, path: &'a str, agent: &'a str) -> Asked<'a> {
    Asked { method, path, agent: agent.as_bytes(), navigates: false }
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

fn bars(rules: &WakeRules, asked: Asked<'_>, client: &str) -> Option<Barred> {
    rules.bars(&asked, client.parse().unwrap())
}

#[test]
fn without_rules_everybody_wakes() {
    let rules = WakeRules::default();
    assert!(rules.is_open());
    assert_eq!(bars(&rules, asked("BREW", "/any", ""), AWAY), None);
}

#[test]
fn each_rule_must_let_the_request_pass() {
    let rules = WakeRules {
        paths: paths(&["/", "/app/*"]),
        methods: vec!["GET".into(), "HEAD".into()],
        from: nets(&["192.168.0.0/16", "2001:db8::/32"]),
        agents: agents(&["Mozilla/*"]),
        ..WakeRules::default()
    };
    assert!(!rules.is_open());
    let browser = "Mozilla/5.0";
    assert_eq!(bars(&rules, asked("GET", "/", browser), HOME), None);
    assert_eq!(bars(&rules, asked("HEAD", "/app/x", browser), "2001:db8::5"), None);
    assert_eq!(bars(&rules, asked("GET", "/other", browser), HOME), Some(Barred::Path));
    assert_eq!(bars(&rules, asked("POST", "/", browser), HOME), Some(Barred::Method));
    assert_eq!(bars(&rules, asked("GET", "/", browser), AWAY), Some(Barred::Address));
    assert_eq!(bars(&rules, asked("GET", "/", "curl/8"), HOME), Some(Barred::Agent));
    assert_eq!(bars(&rules, asked("GET", "/", ""), HOME), Some(Barred::Agent));
}

#[test]
fn exceptions_win_over_permissions() {
    let rules = WakeRules {
        from: nets(&["192.168.0.0/16"]),
        not_from: nets(&["192.168.1.0/24"]),
        agents: agents(&["*"]),
        not_agents: agents(&["*curl*"]),
        ..WakeRules::default()
    };
    assert_eq!(bars(&rules, asked("GET", "/", "x"), "192.168.2.1"), None);
    assert_eq!(bars(&rules, asked("GET", "/", "x"), HOME), Some(Barred::Address));
    assert_eq!(bars(&rules, asked("GET", "/", "libcurl"), "192.168.2.1"), Some(Barred::Agent));
    let only_exceptions = WakeRules { not_from: nets(&["10.0.0.0/8"]), ..WakeRules::default() };
    assert_eq!(bars(&only_exceptions, asked("GET", "/", ""), HOME), None);
    assert_eq!(bars(&only_exceptions, asked("GET", "/", ""), "10.1.1.1"), Some(Barred::Address));
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client() {
    let rules = WakeRules { from: nets(&["192.168.0.0/16"]), ..WakeRules::default() };
    assert_eq!(bars(&rules, asked("GET", "/", ""), "::ffff:192.168.1.1"), None);
}

#[test]
fn a_probe_is_answered_by_path_or_user_agent_or_both() {
    let probe = |path: Option<&str>, agent: Option<&str>, status, counts| Probe {
        path: path.map(|path| PathGlob::parse(path).unwrap()),
        agent: agent.map(|agent| AgentGlob::parse(agent).unwrap()),
        status,
        counts,
    };
    let rules = WakeRules {
        probes: vec![
            probe(Some("/healthz"), None, 204, false),
            probe(Some("/ping/*"), Some("monitor/*"), 200, true),
            probe(None, Some("ELB-HealthChecker/*"), 200, false),
        ],
        ..WakeRules::default()
    };
    let status = |asked: Asked<'_>| rules.aside(&asked).map(|aside| (aside.status, aside.counts));
    assert_eq!(status(asked("GET", "/healthz", "anybody")), Some((204, false)));
    assert_eq!(status(asked("GET", "/ping/a", "monitor/1")), Some((200, true)));
    assert_eq!(status(asked("GET", "/ping/a", "somebody")), None);
    assert_eq!(status(asked("GET", "/", "ELB-HealthChecker/2.0")), Some((200, false)));
    assert_eq!(status(asked("GET", "/", "somebody")), None);
}

#[test]
fn an_icon_or_robots_file_wakes_nobody_unless_it_is_asked_for_on_purpose() {
    let rules = WakeRules::default();
    let icon = rules.aside(&asked("GET", "/favicon.ico", "Mozilla/5.0"));
    assert_eq!(icon, Some(Aside { status: 404, later: false, counts: false }));
    let robots = rules.aside(&asked("GET", "/robots.txt", "Googlebot/2.1"));
    assert_eq!(robots, Some(Aside { status: 503, later: true, counts: false }));
    for path in ["/favicon.ico", "/robots.txt"] {
        let person = Asked { navigates: true, ..asked("GET", path, "Mozilla/5.0") };
        assert_eq!(rules.aside(&person), None, "{path}");
        let named = WakeRules { paths: paths(&["/", path]), ..WakeRules::default() };
        assert_eq!(named.aside(&asked("GET", path, "")), None, "{path}");
        let below = WakeRules { paths: paths(&["/*"]), ..WakeRules::default() };
        assert!(below.aside(&asked("GET", path, "")).is_some(), "{path}");
        assert!(rules.may_set_aside(path));
    }
    assert_eq!(rules.aside(&asked("GET", "/app/favicon.ico", "")), None);
    assert!(!rules.may_set_aside("/"));
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
        let request = asked("GET", "/", bot);
        assert_eq!(WakeRules::default().aside(&request), None, "{bot}");
        let ignored = Some(Aside { status: 503, later: true, counts: false });
        assert_eq!(ignoring.aside(&request), ignored, "{bot}");
    }
    for person in [
        "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/96 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari",
        "curl/8.5.0",
        "robotics-lab/1.0",
        "",
    ] {
        assert_eq!(ignoring.aside(&asked("GET", "/", person)), None, "{person}");
    }
}

proptest! {
    /// Adding a rule never lets more requests wake.
    #[test]
    fn every_further_exception_only_takes_away(
        octets: [u8; 4],
        net in 0u8..=32,
        path in "/[a-z]{0,3}",
        agent in "[a-z]{0,5}",
    ) {
        let client = IpAddr::from(octets);
        let request = asked("GET", &path, &agent);
        let open = WakeRules { from: nets(&["0.0.0.0/0"]), ..WakeRules::default() };
        prop_assert_eq!(open.bars(&request, client), None);
        let own = IpNet::new(client, net).unwrap();
        let barred = WakeRules { not_from: vec![own], ..open.clone() };
        prop_assert_eq!(barred.bars(&request, client), Some(Barred::Address));
        let narrow = WakeRules { from: vec![own], ..open };
        prop_assert_eq!(narrow.bars(&request, client), None);
    }

    #[test]
    fn a_request_that_may_not_be_set_aside_is_not(path in "/[a-z.]{0,12}", agent in "\\PC{0,20}") {
        let rules = WakeRules::default();
        if !rules.may_set_aside(&path) {
            prop_assert_eq!(rules.aside(&asked("GET", &path, &agent)), None);
        }
    }
}
