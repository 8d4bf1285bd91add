use std::time::{Duration, Instant};

use drowse_core::WorkloadName;
use proptest::prelude::*;

use super::*;
use crate::Waiting;

fn route(host: &str, path: &str, workload: &str) -> Route {
    Route {
        listener: "web".into(),
        host: HostMatch::parse(host).unwrap(),
        path: path.into(),
        workload: WorkloadName::parse(workload).unwrap(),
        port: 80,
        waiting: Waiting::Auto,
        patience: Duration::from_secs(60),
        wake: Arc::default(),
        auth: None,
        vouched: Arc::default(),
    }
}

fn table(routes: &[(&str, &str, &str)]) -> Table<()> {
    built(routes.iter().map(|(host, path, name)| (route(host, path, name), ())))
}

fn built<T: Clone>(routes: impl IntoIterator<Item = (Route, T)>) -> Table<T> {
    Tables::build(routes).unwrap().listener("web").clone()
}

fn found<'a>(table: &'a Table<()>, host: &str, path: &str) -> Option<&'a str> {
    table.lookup(host, path).map(|entry| entry.route.workload.as_str())
}

#[test]
fn an_exact_host_wins_over_wildcards_and_a_longer_wildcard_over_a_shorter() {
    let table = table(&[
        ("*", "/", "any"),
        ("*.example.org", "/", "wide"),
        ("*.eu.example.org", "/", "narrow"),
        ("blog.eu.example.org", "/", "exact"),
    ]);
    assert_eq!(found(&table, "blog.eu.example.org", "/"), Some("exact"));
    assert_eq!(found(&table, "shop.eu.example.org", "/"), Some("narrow"));
    assert_eq!(found(&table, "a.b.c.eu.example.org", "/"), Some("narrow"));
    assert_eq!(found(&table, "eu.example.org", "/"), Some("wide"));
    assert_eq!(found(&table, "example.org", "/"), Some("any"));
    assert_eq!(found(&table, "notexample.org", "/"), Some("any"));
    assert_eq!(found(&table, "", "/"), Some("any"));
}

#[test]
fn a_path_prefix_ends_on_a_segments_border() {
    let table = table(&[("a.org", "/api", "api"), ("a.org", "/api/v2/", "v2")]);
    assert_eq!(found(&table, "a.org", "/api"), Some("api"));
    assert_eq!(found(&table, "a.org", "/api/"), Some("api"));
    assert_eq!(found(&table, "a.org", "/api/v2"), Some("v2"));
    assert_eq!(found(&table, "a.org", "/api/v2/x/y"), Some("v2"));
    assert_eq!(found(&table, "a.org", "/api/v20"), Some("api"));
    assert_eq!(found(&table, "a.org", "/apis"), None);
    assert_eq!(found(&table, "a.org", "/"), None);
}

#[test]
fn a_host_without_a_fitting_path_leaves_the_visitor_to_the_next_host() {
    let table = table(&[("a.org", "/api", "api"), ("*", "/", "rest")]);
    assert_eq!(found(&table, "a.org", "/api/x"), Some("api"));
    assert_eq!(found(&table, "a.org", "/x"), Some("rest"));
}

#[test]
fn a_path_leads_where_servers_resolve_it_to() {
    let table =
        table(&[("a.org", "/", "all"), ("a.org", "/open", "open"), ("a.org", "/~j", "joe")]);
    assert_eq!(found(&table, "a.org", "/open/../secret"), Some("all"));
    assert_eq!(found(&table, "a.org", "/open/%2e%2E/secret"), Some("all"));
    assert_eq!(found(&table, "a.org", "/x/../open/y"), Some("open"));
    assert_eq!(found(&table, "a.org", "//open"), Some("open"));
    assert_eq!(found(&table, "a.org", "/%6fpen"), Some("open"));
    assert_eq!(found(&table, "a.org", "/%7Ej/x"), Some("joe"));
    assert_eq!(found(&table, "a.org", "/open/..%2fsecret"), None, "nobody knows where to");
    assert_eq!(found(&table, "a.org", "/open/..;/secret"), None);
}

#[test]
fn what_may_be_a_path_of_another_route_is_nobodys() {
    let table = table(&[("a.org", "/", "all"), ("a.org", "/admin", "admin")]);
    for path in [
        "/admin%2Fusers",
        "/admin%2fusers",
        "/admin;x/users",
        "/admin%3Bx/users",
        "/admin\\users",
        "/admin%5Cusers",
        "/x/..;/admin",
        "/foo/..;%2F..%2F..%2Fx/admin",
        "/x%2Fy/../admin",
    ] {
        assert_eq!(found(&table, "a.org", path), None, "{path}");
    }
    assert_eq!(found(&table, "a.org", "/projects/a%2Fb;c"), Some("all"), "all lead there");
    assert_eq!(found(&table, "a.org", "/admin/a%2Fb\\c;d"), Some("admin"));
}

#[test]
fn where_paths_make_no_difference_every_path_is_passed_on() {
    let table = table(&[("a.org", "/", "all")]);
    assert_eq!(found(&table, "a.org", "/a/..%2fb"), Some("all"));
}

#[test]
fn routes_whose_paths_mean_the_same_are_a_conflict() {
    let routes = ["/%7ejoe", "/~joe/"].map(|path| (route("a.org", path, "w"), ()));
    assert_eq!(Tables::build(routes).unwrap_err().len(), 1);
}

#[test]
fn conflicting_routes_are_all_reported() {
    let routes = [
        route("A.org", "/api", "one"),
        route("a.org", "/api/", "two"),
        route("a.org", "/", "fine"),
        route("a.org", "/", "three"),
    ];
    let conflicts = Tables::build(routes.map(|route| (route, ()))).unwrap_err();
    assert_eq!(conflicts.len(), 2);
    assert_eq!(conflicts[0].first.workload.as_str(), "one");
    assert_eq!(conflicts[0].second.workload.as_str(), "two");
    let text = conflicts[1].to_string();
    assert!(text.contains("\"fine\"") && text.contains("\"three\"") && text.contains("a.org"));
}

#[test]
fn listeners_do_not_see_each_others_routes() {
    let mut other = route("a.org", "/", "other");
    other.listener = "intern".into();
    let tables = Tables::build([(route("a.org", "/", "web"), 1), (other, 2)]).unwrap();
    assert_eq!(tables.listener("web").lookup("a.org", "/").unwrap().value, 1);
    assert_eq!(tables.listener("intern").lookup("a.org", "/").unwrap().value, 2);
    assert!(tables.listener("none").lookup("a.org", "/").is_none());
}

/// What the table must answer, said the slow way: of all routes that fit, the one with the best
/// host, then the one with the longest path.
fn naive<'a>(routes: &'a [Route], host: &str, path: &str) -> Option<&'a Route> {
    let host = host.to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/').map(|segment| segment.replace("%62", "b").replace("%2e", ".")) {
        match segment.as_str() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let path = format!("/{}", segments.join("/"));
    let host_rank = |route: &Route| match &route.host {
        HostMatch::Any => Some(0),
        HostMatch::Wildcard(suffix) => {
            host.strip_suffix(suffix.as_str())?.strip_suffix('.').map(|_| 1 + suffix.len())
        }
        HostMatch::Exact(exact) => (exact == host).then_some(usize::MAX),
    };
    let path_rank = |route: &Route| {
        let prefix = route.path.trim_end_matches('/');
        let rest = path.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/') || prefix.is_empty()).then_some(prefix.len())
    };
    routes
        .iter()
        .filter_map(|route| Some(((host_rank(route)?, path_rank(route)?), route)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, route)| route)
}

fn some_host() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "c", "A", "x-y"]);
    prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."))
}

fn some_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "a%62", "", ".", "..", "%2e."]);
    prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn some_odd_path() -> impl Strategy<Value = String> {
    let piece =
        vec!["a", "b", "ab", "/", "/", "..", ".", "%2F", "%2f", ";x", ";", "\\", "%5C", "%3B"];
    let piece = prop::sample::select(piece);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// How servers read a path before they resolve its dots.
const SERVERS: [fn(&str) -> String; 6] = [
    // As it is written.
    str::to_owned,
    // Go: decoded.
    |path| slashes(path).replace("%3B", ";"),
    // Tomcat: parameters cut off first.
    |path| slashes(&uncut(path)).replace("%3B", ";"),
    // Others cut them off last.
    |path| uncut(&slashes(path).replace("%3B", ";")),
    // IIS: backslashes are slashes.
    |path| slashes(path).replace("%3B", ";").replace("%5C", "\\").replace('\\', "/"),
    |path| uncut(&slashes(&path.replace('\\', "/").replace("%5C", "/")).replace("%3B", ";")),
];

fn slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/")
}

fn uncut(path: &str) -> String {
    let names: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
    names.join("/")
}

fn some_route() -> impl Strategy<Value = Route> {
    let prefix = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..4)
        .prop_map(|segments| format!("/{}", segments.join("/")));
    let host = prop_oneof![
        1 => Just("*".to_owned()),
        3 => some_host(),
        3 => some_host().prop_map(|host| format!("*.{host}")),
    ];
    (host, prefix).prop_map(|(host, path)| route(&host, &path, "w"))
}

proptest! {
    #[test]
    fn the_table_answers_as_the_slow_matcher_does(
        routes in prop::collection::vec(some_route(), 0..30),
        questions in prop::collection::vec(
            (some_host(), some_path(), prop::sample::select(vec!["", ":80", ".", ".:8080"])),
            1..20,
        ),
    ) {
        let mut distinct: Vec<Route> = Vec::new();
        for mut route in routes {
            if distinct.iter().any(|r| r.host == route.host && r.path == route.path) {
                continue;
            }
            route.port = u16::try_from(distinct.len()).unwrap();
            distinct.push(route);
        }
        let table = built(distinct.iter().map(|route| (route.clone(), ())));
        for (host, path, tail) in questions {
            let host = format!("{host}{tail}");
            let expected = naive(&distinct, &host, &path).map(|route| route.port);
            let answered = table.lookup(&host, &path).map(|entry| entry.route.port);
            prop_assert_eq!(answered, expected, "{} {}", host, path);
        }
    }

    /// Whatever a server makes of a path, it is on the route that was found.
    #[test]
    fn nobody_gets_past_a_route_by_writing_a_path_in_another_way(
        routes in prop::collection::vec(some_route(), 1..8),
        paths in prop::collection::vec(some_odd_path(), 1..20),
    ) {
        let mut distinct: Vec<Route> = Vec::new();
        for mut route in routes {
            route.host = HostMatch::Any;
            if !distinct.iter().any(|held| held.path == route.path) {
                route.port = u16::try_from(distinct.len()).unwrap();
                distinct.push(route);
            }
        }
        let table = built(distinct.iter().map(|route| (route.clone(), ())));
        for path in paths {
            let Some(entry) = table.lookup("h", &path) else { continue };
            for server in SERVERS {
                let resolved = server(&path);
                let meant = naive(&distinct, "h", &resolved).map(|route| route.port);
                prop_assert_eq!(meant, Some(entry.route.port), "{} as {}", path, resolved);
            }
        }
    }

    #[test]
    fn whatever_a_client_says_is_survived(host in ".{0,300}", path in ".{0,300}") {
        let table = table(&[("*.example.org", "/a/b", "w"), ("a.org", "/a", "v"), ("*", "/c", "u")]);
        let _ = table.lookup(&host, &path);
    }
}

#[test]
fn every_pair_of_equal_routes_is_a_conflict() {
    let routes = (0..50).map(|n| (route("a.org", "/", &format!("w{n}")), ()));
    assert_eq!(Tables::build(routes).unwrap_err().len(), 49);
}

/// Not a limit, a look: run with `--ignored --nocapture` in release.
#[test]
#[ignore = "prints figures; nothing to check"]
fn figures_at_100_000_routes() {
    let begin = Instant::now();
    let table = built((0..100_000).map(|n| {
        let host = if n % 10 == 0 { format!("*.w{n}.org") } else { format!("h{n}.example.org") };
        (route(&host, "/", &format!("w{n}")), n)
    }));
    println!("build {:?}", begin.elapsed());
    let hosts: Vec<_> = (0..100_000)
        .map(|n| if n % 10 == 0 { format!("a.W{n}.org:80") } else { format!("h{n}.example.org") })
        .collect();
    let begin = Instant::now();
    let hits = (0..10).flat_map(|_| &hosts).filter(|host| table.lookup(host, "/a/b/c").is_some());
    let hits = hits.count();
    println!("{} a lookup, {hits} hits", begin.elapsed().as_nanos() / 1_000_000);
}
