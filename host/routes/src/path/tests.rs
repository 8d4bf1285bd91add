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
    ] {
        let error = parse_path(path).unwrap_err().to_string();
        assert!(error.contains(reason), "{path:?}: {error}");
    }
}
