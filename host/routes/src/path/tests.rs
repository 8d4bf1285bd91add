use super::*;

fn all(path: &str, depth: usize) -> Vec<&str> {
    prefixes(path, depth).collect()
}

#[test]
fn a_last_slash_makes_no_difference() {
    assert_eq!(parse_path("/api/").unwrap(), "/api");
    assert_eq!(parse_path("/api").unwrap(), "/api");
    assert_eq!(parse_path("/").unwrap(), "/");
}

#[test]
fn paths_are_compared_in_one_form() {
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
        assert_eq!(normalise(path).as_deref(), Some(form), "{path}");
    }
    assert_eq!(parse_path("/%7ejoe/").unwrap(), "/~joe");
}

#[test]
fn a_path_in_which_only_some_servers_read_dot_segments_has_no_form() {
    for path in [
        "/a/..%2fb",
        "/a/x%2F..%2F..%2Fb",
        "/a/..;/b",
        "/a/.;x=y/b",
        "/a/..%3b/b",
        "/a/..\\b",
        "/a\\..\\b",
        "/a/%2e.%5cb",
    ] {
        assert_eq!(normalise(path), None, "{path}");
    }
}

#[test]
fn prefixes_end_on_borders_longest_first() {
    assert_eq!(all("/a/b/c", 9), ["/a/b/c", "/a/b", "/a", ""]);
    assert_eq!(all("/a/b/c", 2), ["/a/b", "/a", ""]);
    assert_eq!(all("/a/b/c", 0), [""]);
    assert_eq!(all("/a/", 9), ["/a/", "/a", ""]);
    assert_eq!(all("/", 9), ["/", ""]);
}

#[test]
fn a_target_that_is_no_path_has_only_itself_and_the_root() {
    assert_eq!(all("*", 3), ["*"]);
    assert_eq!(all("*", 0), [""]);
    assert_eq!(all("", 3), [""]);
}

#[test]
fn what_cannot_be_a_prefix_is_refused_with_the_reason() {
    for (path, reason) in [
        ("api", "begin"),
        ("", "begin"),
        ("/api?x", "query"),
        ("/api/*", "prefix as it is"),
        ("/a b", "percent-encoded"),
        ("/é", "percent-encoded"),
        ("/a//b", "empty segment"),
        ("/a/../b", "resolved"),
        ("/a/%2E", "resolved"),
        ("/a/..%2fb", "some servers"),
    ] {
        let error = parse_path(path).unwrap_err().to_string();
        assert!(error.contains(reason), "{path:?}: {error}");
    }
}
