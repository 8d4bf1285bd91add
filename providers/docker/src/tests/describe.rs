use drowse_provider_sdk::{ErrorCode, testing};

use super::*;

#[test]
fn the_description_has_no_mistakes() {
    testing::check_description::<Docker>();
}

#[test]
fn an_unknown_key_and_a_wrong_word_are_refused_by_name() {
    let refusal = |settings| {
        let error = Harness::<Docker>::with_settings(settings).configure().unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        error.message().to_owned()
    };
    let told = refusal(json!({ "adress": "auto" }));
    assert!(told.starts_with(r#"settings: key "adress": unknown field `adress`, expected one of"#));
    let told = refusal(json!({ "address": "public" }));
    assert!(told.contains("expected one of `auto`, `container`, `published`"), "{told}");
    let told = refusal(json!({ "host": "10.0.0.1:2375" }));
    assert!(told.starts_with(r#"settings: key "host": "10.0.0.1:2375" is not"#), "{told}");
}

#[test]
fn a_handle_that_is_no_container_name_never_reaches_the_engine() {
    let test = Harness::<Docker>::new();
    for handle in ["", "../info", "a/b", "a b", "-a", "a?b", "a%2fb", ".a"] {
        let error = test.start(handle).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest, "{handle:?}");
    }
    assert!(test.requests().is_empty());
}

#[test]
fn the_version_is_the_smaller_of_both_and_asked_once() {
    let test = engine("1.52", json!({}));
    test.expect("engine", "GET /v1.47/containers/web/json", recorded(RUNNING));
    test.expect("engine", "GET /v1.47/containers/web/json", recorded(RUNNING));
    test.status("web").unwrap();
    test.status("web").unwrap();
}

#[test]
fn an_engine_that_was_replaced_is_asked_for_its_version_again() {
    let test = docker();
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    test.status("web").unwrap();
    let old = refused(400, "client version 1.41 is too old. Minimum supported API version is 1.44");
    test.expect("engine", INSPECT_WEB, old);
    test.expect("engine", "GET /_ping", Reply::status(200).header("Api-Version", "1.51"));
    test.expect("engine", "GET /v1.47/containers/web/json", recorded(RUNNING));
    test.status("web").unwrap();
}

#[test]
fn something_else_behind_the_socket_is_named() {
    let test = Harness::<Docker>::new();
    test.expect("engine", "GET /_ping", Reply::status(200).body("hello"));
    let error = test.status("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("is this the socket of Docker or Podman?"));
}

#[test]
fn a_dead_socket_is_unavailable_and_says_what_was_attempted() {
    let test = Harness::<Docker>::new();
    let dead = drowse_provider_sdk::Error::unavailable("connect to unix:///x: connection refused");
    test.expect("engine", "GET /_ping", Reply::error(dead));
    let error = test.start("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        r#"start container "web": connect to unix:///x: connection refused"#
    );
}
