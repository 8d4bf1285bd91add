use super::*;

fn all(path: &str, depth: usize) -> Vec<&str> {
    prefixes(path, depth).collect()
}

#[test]
fn a_final_slash_is_ignored() {
    assert_eq!(parse_path("/api/").unwrap(), "/api");
    assert_eq!(parse_path("/api").unwrap(), "/api");
    assert_eq!(parse_path("/").unwrap(), "/");
}

#[test]
fn paths_are_compared_in_normal_form() {
    for (path, form) in [
        ("/a/b/", "/a/b/"),
        ("/", "/"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("//a///b", "/a/b"),
        ("//", "/"),
        ("/%7ejoe/%41", "/~joe/A"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/100%/%4/%zz%", "/100%/%4/%zz%"),
        ("/...", "/..."),
        ("/.well-known/..x", "/.well-known/..x"),
        ("/a%2fb;c=d", "/a%2Fb;c=d"),
        ("*", "*"),
        ("", ""),
    ] {
        assert_eq!(normalise(path), form, "{path}");
    }
    assert_eq!(parse_path("/%7ejoe/").unwrap(), "/~joe");
}

#[test]
fn a_path_has_the_interpretations_of_all_servers() {
    for (path, expected) in [
        ("/admin%2Fusers", &["/admin%2Fusers", "/admin/users"][..]),
        ("/admin\\users", &["/admin\\users", "/admin/users"]),
        ("/admin%5cusers", &["/admin%5Cusers", "/admin/users"]),
        ("/admin;x/users", &["/admin;x/users", "/admin/users"]),
        ("/admin%3bx/users", &["/admin%3Bx/users", "/admin/users"]),
        ("/a/..%2fb", &["/a/..%2Fb", "/b"]),
        ("/a/..;/b", &["/a/..;/b", "/b"]),
        // Parameters are dropped before decoding, after decoding, or never.
        ("/a;%2Fb", &["/a;%2Fb", "/a", "/a;/b", "/a/b"]),
        ("/a/..;%2F..%2Fx/b", &["/a/..;%2F..%2Fx/b", "/b", "/a/x/b", "/x/b"]),
    ] {
        let mut all: Vec<String> = Vec::new();
        for interpretation in interpretations(path) {
            if !all.iter().any(|held| *held == interpretation) {
                all.push(interpretation.into_owned());
            }
        }
        assert_eq!(all[0], expected[0], "{path}");
        for interpretation in expected {
            assert!(
                all.iter().any(|held| held == interpretation),
                "{interpretation} of {path}: {all:?}"
            );
        }
        assert!(all.len() <= 4, "{path}: {all:?}");
    }
    for path in ["/a/b", "/a/../b", "/caf%C3%A9", "/a%20b", "*", ""] {
        assert_eq!(interpretations(path).count(), 1, "{path}");
    }
}

#[test]
fn prefixes_consist_of_whole_segments_longest_first() {
    assert_eq!(all("/a/b/c", 9), ["/a/b/c", "/a/b", "/a", ""]);
    assert_eq!(all("/a/b/c", 2), ["/a/b", "/a", ""]);
    assert_eq!(all("/a/b/c", 0), [""]);
    assert_eq!(all("/a/", 9), ["/a/", "/a", ""]);
    assert_eq!(all("/", 9), ["/", ""]);
}

#[test]
fn a_target_that_is_not_a_path_has_only_itself_and_the_root() {
    assert_eq!(all("*", 3), ["*"]);
    assert_eq!(all("*", 0), [""]);
    assert_eq!(all("", 3), [""]);
}

#[test]
fn an_invalid_prefix_is_refused_with_the_reason() {
    for (path, reason) in [
        ("api", "begin"),
        ("", "begin"),
        ("/api?x", "query"),
        ("/api/*", "every path is a prefix"),
        ("/a b", "percent-encoded"),
        ("/é", "percent-encoded"),
        ("/a//b", "empty segment"),
        ("/a/../b", "resolved"),
        ("/a/%2E", "resolved"),
        ("/a/..%2fb", "some servers"),
        ("/a%2fb", "some servers"),
        ("/a;b", "some servers"),
    ] {
        let error = parse_path(path).unwrap_err().to_string();
        assert!(error.contains(reason), "{path:?}: {error}");
    }
}
