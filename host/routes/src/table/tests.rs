use std::time::{Duration, Instant};

use drowse_core::WorkloadName;
use proptest::prelude::*;

use super::*;
use crate::{Auth, AuthKind, BasicAuth, Waiting};

fn route(host: &str, path: &str, workload: &str) -> Route {
    Route {
        listener: "web".into(),
        host: HostMatch::parse(host).unwrap(),
        path: path.into(),
        workload: WorkloadName::parse(workload).unwrap(),
        port: 80,
        waiting: Waiting::Auto,
        hold_timeout: Duration::from_secs(60),
        wake: Arc::default(),
        auth: None,
        similar_paths: None,
        identity_headers: Arc::default(),
    }
}

fn table(routes: &[(&str, &str, &str)]) -> Table<()> {
    built(routes.iter().map(|(host, path, name)| (route(host, path, name), ())))
}

fn built<T: Clone>(routes: impl IntoIterator<Item = (Route, T)>) -> Table<T> {
    Tables::build(routes).unwrap().listener("web").clone()
}

fn found<'a>(table: &'a Table<()>, host: &str, path: &str) -> Option<&'a str> {
    table.lookup(host, path).ok().map(|entry| entry.route.workload.as_str())
}

#[test]
fn an_exact_host_precedes_wildcards_and_a_longer_wildcard_a_shorter() {
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
fn a_path_prefix_matches_whole_segments() {
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
fn a_host_without_a_matching_path_falls_through_to_the_next_host() {
    let table = table(&[("a.org", "/api", "api"), ("*", "/", "rest")]);
    assert_eq!(found(&table, "a.org", "/api/x"), Some("api"));
    assert_eq!(found(&table, "a.org", "/x"), Some("rest"));
}

#[test]
fn paths_are_matched_with_dots_and_escapes_resolved() {
    let table =
        table(&[("a.org", "/", "all"), ("a.org", "/open", "open"), ("a.org", "/~j", "joe")]);
    assert_eq!(found(&table, "a.org", "/open/../secret"), Some("all"));
    assert_eq!(found(&table, "a.org", "/open/%2e%2E/secret"), Some("all"));
    assert_eq!(found(&table, "a.org", "/x/../open/y"), Some("open"));
    assert_eq!(found(&table, "a.org", "//open"), Some("open"));
    assert_eq!(found(&table, "a.org", "/%6fpen"), Some("open"));
    assert_eq!(found(&table, "a.org", "/%7Ej/x"), Some("joe"));
    assert_eq!(
        found(&table, "a.org", "/open/..%2fsecret"),
        None,
        "servers interpret it differently"
    );
    assert_eq!(found(&table, "a.org", "/open/..;/secret"), None);
}

#[test]
fn a_path_whose_interpretations_match_different_routes_matches_none() {
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
    assert_eq!(
        found(&table, "a.org", "/projects/a%2Fb;c"),
        Some("all"),
        "all interpretations match it"
    );
    assert_eq!(found(&table, "a.org", "/admin/a%2Fb\\c;d"), Some("admin"));
}

fn protected(host: &str, path: &str, workload: &str) -> Route {
    let kind = AuthKind::Basic(BasicAuth {
        users: "users".into(),
        realm: "home".into(),
        user_header: None,
    });
    let auth = Some(Arc::new(Auth { name: "family".into(), kind }));
    Route { auth, ..route(host, path, workload) }
}

fn table_of(routes: &[Route]) -> Table<()> {
    built(routes.iter().cloned().map(|route| (route, ())))
}

#[test]
fn a_path_that_resembles_a_protected_one_does_not_bypass_its_auth() {
    let routes = [route("a.org", "/", "app"), protected("a.org", "/admin", "app")];
    let table = table_of(&routes);
    for path in ["/ADMIN", "/admin.json", "/admin%20", "/admin.", "/%2561dmin", "/Admin/users"] {
        let similar = NoRoute::Similar { protected: "/admin".to_owned() };
        assert_eq!(table.lookup("a.org", path), Err(similar), "{path}");
    }
    let is_protected = |path| table.lookup("a.org", path).map(|entry| entry.route.auth.is_some());
    assert_eq!(is_protected("/admin/users"), Ok(true));
    for path in ["/", "/administrator", "/x/ADMIN", "/admin-panel.json"] {
        assert_eq!(is_protected(path), Ok(false), "{path}");
    }
    let long = format!("/{}%20", "a".repeat(10_000));
    assert!(table.lookup("a.org", &long).is_err(), "too long to be compared");
}

#[test]
fn similar_paths_match_where_no_auth_is_bypassed() {
    let matches = |routes: &[Route], path: &str| table_of(routes).lookup("a.org", path).is_ok();
    let (open, admin) = (route("a.org", "/", "app"), protected("a.org", "/admin", "app"));
    let allowing = Route { similar_paths: Some(SimilarPaths::Allow), ..admin.clone() };
    assert!(matches(&[open.clone(), allowing], "/ADMIN"), "the operator allows it");
    let whole = protected("a.org", "/", "app");
    assert!(matches(&[whole, admin.clone()], "/ADMIN"), "both have equal `auth`");
    assert!(matches(&[route("a.org", "/", "other"), admin.clone()], "/ADMIN"), "another workload");
    assert!(
        matches(&[open.clone(), route("a.org", "/admin", "app")], "/ADMIN"),
        "no route has an `auth`"
    );
    let script = route("a.org", "/admin.js", "app");
    let routes = [open.clone(), admin.clone(), script];
    assert!(matches(&routes, "/admin.js"), "the path has its own route");
    assert!(!matches(&routes, "/admin.json") && !matches(&routes, "/ADMIN.js"));
    let public = route("a.org", "/admin/public", "app");
    let routes = [open, admin, public];
    assert!(matches(&routes, "/admin/public/x"));
    assert!(!matches(&routes, "/admin/public/%252e%252e/users"), "some servers decode it twice");
}

#[test]
fn a_protected_path_applies_to_the_hosts_of_its_route() {
    let routes = [
        route("*", "/", "app"),
        protected("*.a.org", "/admin", "app"),
        route("b.a.org", "/", "app"),
    ];
    let table = table_of(&routes);
    assert!(table.lookup("x.a.org", "/ADMIN").is_err());
    assert!(table.lookup("x.org", "/ADMIN").is_ok());
    assert!(
        table.lookup("b.a.org", "/admin").unwrap().route.auth.is_none(),
        "the exact host precedes the wildcard"
    );
    assert!(table.lookup("b.a.org", "/ADMIN").is_ok());
}

#[test]
fn unprotected_parents_of_protected_routes_are_found() {
    let (open, admin) = (route("a.org", "/", "app"), protected("a.org", "/x/admin", "app"));
    let explicit = Route { similar_paths: Some(SimilarPaths::Refuse), ..admin.clone() };
    let whole = protected("a.org", "/", "app");
    let pairs = |routes: &[Route]| unprotected_parents(routes).len();
    assert_eq!(unprotected_parents(&[open.clone(), admin.clone()]), [(&admin, &open)]);
    assert_eq!(pairs(&[open.clone(), explicit]), 0);
    assert_eq!(pairs(&[whole, admin.clone()]), 0);
    assert_eq!(pairs(&[route("b.org", "/", "app"), admin.clone()]), 0);
    assert_eq!(pairs(&[route("a.org", "/", "other"), admin.clone()]), 0);
    assert_eq!(
        pairs(&[route("a.org", "/x/admin/open", "app"), admin]),
        0,
        "a child route is intended"
    );
}

/// Rewrites a path in a way that some backend ignores.
fn disguise(path: &str, trick: usize, at: usize) -> String {
    // Only names are rewritten, not the slashes between them.
    let positions: Vec<_> = path.char_indices().filter(|(_, c)| *c != '/').collect();
    let (position, character) = positions[at % positions.len()];
    let with = |text: String| format!("{}{text}{}", &path[..position], &path[position + 1..]);
    // After a plain name only: after dots it would be another path.
    let plain = |end: &usize| {
        let name = path[..*end].rsplit('/').next().unwrap_or_default();
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"~-".contains(&b))
    };
    let slashes = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let ends: Vec<_> = slashes.filter(plain).collect();
    let end = ends.get(at % ends.len().max(1)).copied();
    let behind = |text: &str| match end {
        Some(end) => format!("{}{text}{}", &path[..end], &path[end..]),
        None => path.to_owned(),
    };
    match trick {
        0 => with(character.to_ascii_uppercase().to_string()),
        1 => with(format!("%{:02x}", u32::from(character.to_ascii_uppercase()))),
        2 => with(format!("%25{:02X}", u32::from(character))),
        3 => with(format!("%u{:04x}", u32::from(character))),
        4 => behind("."),
        5 => behind(".json"),
        6 => behind("%20"),
        7 => behind("%00"),
        8 => behind(";x=1"),
        9 => behind("%3Bx"),
        10 => behind("%3f"),
        11 => behind("%09"),
        12 => behind("::$DATA"),
        13 => path.replacen('/', "//", 1),
        14 => format!("/x/..{path}"),
        15 => format!("/x/%2e%2e{path}"),
        16 => format!("/x/%252e%252e{path}"),
        17 => format!("/x/..;{path}"),
        18 => format!("/x%5C..{path}"),
        _ => path.replacen('/', "/%20", 1),
    }
}

proptest! {
    /// A rewritten protected path matches the protected route or none.
    #[test]
    fn a_rewritten_protected_path_never_matches_the_unprotected_route(
        prefix in prop::sample::select(vec!["/admin", "/api/users", "/~joe/x-1", "/a"]),
        rest in prop::sample::select(vec!["", "/", "/list", "/a/b.html"]),
        tricks in prop::collection::vec((0_usize..20, any::<usize>()), 0..4),
    ) {
        let table = table_of(&[route("a.org", "/", "app"), protected("a.org", prefix, "app")]);
        let mut path = prefix.to_owned();
        for (trick, at) in tricks {
            path = disguise(&path, trick, at);
        }
        path.push_str(rest);
        if let Ok(entry) = table.lookup("a.org", &path) {
            prop_assert!(entry.route.auth.is_some(), "{}", path);
        }
    }

    /// A path with different names is served.
    #[test]
    fn other_paths_are_served_beside_a_protected_one(
        name in "[a-z][a-z0-9_-]{0,8}", more in "(/[a-zA-Z0-9._~-]{1,6}){0,3}",
    ) {
        prop_assume!(name != "admin");
        let table = table_of(&[route("a.org", "/", "app"), protected("a.org", "/admin", "app")]);
        let path = format!("/{name}{more}");
        // Dot segments may resolve to any path.
        prop_assume!(!path.contains(".."));
        let found = table.lookup("a.org", &path).map(|entry| entry.route.auth.is_some());
        prop_assert_eq!(found, Ok(false), "{}", path);
    }
}

#[test]
fn a_host_without_path_routes_matches_every_path() {
    let table = table(&[("a.org", "/", "all")]);
    assert_eq!(found(&table, "a.org", "/a/..%2fb"), Some("all"));
}

#[test]
fn routes_with_equal_normal_paths_are_a_conflict() {
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
    assert!(tables.listener("none").lookup("a.org", "/").is_err());
}

/// A naive matcher: of all matching routes the one with the best host, then with the longest path.
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

/// Interpretations of a path by servers before they resolve its dots.
const SERVERS: [fn(&str) -> String; 6] = [
    // Unchanged.
    str::to_owned,
    // Go: decoded.
    |path| slashes(path).replace("%3B", ";"),
    // Tomcat: parameters dropped before decoding.
    |path| slashes(&without_parameters(path)).replace("%3B", ";"),
    // Others: parameters dropped after decoding.
    |path| without_parameters(&slashes(path).replace("%3B", ";")),
    // IIS: backslashes replaced by slashes.
    |path| slashes(path).replace("%3B", ";").replace("%5C", "\\").replace('\\', "/"),
    |path| {
        without_parameters(
            &slashes(&path.replace('\\', "/").replace("%5C", "/")).replace("%3B", ";"),
        )
    },
];

fn slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/")
}

fn without_parameters(path: &str) -> String {
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
    fn the_table_matches_like_the_naive_matcher(
        routes in prop::collection::vec(some_route(), 0..30),
        requests in prop::collection::vec(
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
        for (host, path, tail) in requests {
            let host = format!("{host}{tail}");
            let expected = naive(&distinct, &host, &path).map(|route| route.port);
            let matched = table.lookup(&host, &path).ok().map(|entry| entry.route.port);
            prop_assert_eq!(matched, expected, "{} {}", host, path);
        }
    }

    /// Every interpretation of a path is on the route that it matched.
    #[test]
    fn a_rewritten_path_never_matches_a_route_of_another_path(
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
            let Ok(entry) = table.lookup("h", &path) else { continue };
            for server in SERVERS {
                let resolved = server(&path);
                let expected = naive(&distinct, "h", &resolved).map(|route| route.port);
                prop_assert_eq!(expected, Some(entry.route.port), "{} as {}", path, resolved);
            }
        }
    }

    #[test]
    fn any_host_and_path_are_handled_without_panic(host in ".{0,300}", path in ".{0,300}") {
        let table = table(&[("*.example.org", "/a/b", "w"), ("a.org", "/a", "v"), ("*", "/c", "u")]);
        let _ = table.lookup(&host, &path);
    }
}

#[test]
fn every_pair_of_equal_routes_is_a_conflict() {
    let routes = (0..50).map(|n| (route("a.org", "/", &format!("w{n}")), ()));
    assert_eq!(Tables::build(routes).unwrap_err().len(), 49);
}

/// Prints figures; run with `--ignored --nocapture` in release.
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
    let hits = (0..10).flat_map(|_| &hosts).filter(|host| table.lookup(host, "/a/b/c").is_ok());
    let hits = hits.count();
    println!("{} a lookup, {hits} hits", begin.elapsed().as_nanos() / 1_000_000);
}
