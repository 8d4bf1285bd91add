use drowse_provider_sdk::{ErrorCode, testing};

use super::*;

#[test]
fn the_description_is_valid() {
    testing::check_description::<Docker>();
}

#[test]
fn an_unknown_key_and_an_invalid_value_are_named() {
    let refusal = |settings| {
        let error = Harness::<Docker>::with_settings(settings).configure().unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        error.message().to_owned()
    };
    let message = refusal(json!({ "adress": "auto" }));
    assert!(
        message.starts_with(r#"settings: key "adress": unknown field `adress`, expected one of"#)
    );
    let message = refusal(json!({ "address": "public" }));
    assert!(message.contains("expected one of `auto`, `container`, `published`"), "{message}");
    let message = refusal(json!({ "host": "10.0.0.1:2375" }));
    assert!(message.starts_with(r#"settings: key "host": "10.0.0.1:2375" is not"#), "{message}");
}

#[test]
fn an_invalid_container_name_is_refused_before_a_request() {
    let test = Harness::<Docker>::new();
    for handle in ["", "../info", "a/b", "a b", "-a", "a?b", "a%2fb", ".a"] {
        let error = test.start(handle).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest, "{handle:?}");
    }
    assert!(test.requests().is_empty());
}

#[test]
fn the_version_is_the_lower_one_and_negotiated_once() {
    let test = engine("1.52", json!({}));
    test.expect("engine", "GET /v1.47/containers/web/json", recorded(RUNNING));
    test.expect("engine", "GET /v1.47/containers/web/json", recorded(RUNNING));
    test.status("web").unwrap();
    test.status("web").unwrap();
}

#[test]
fn the_version_is_negotiated_again_with_a_replaced_engine() {
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
fn a_socket_of_another_service_is_reported() {
    let test = Harness::<Docker>::new();
    test.expect("engine", "GET /_ping", Reply::status(200).body("hello"));
    let error = test.status("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("is this the socket of Docker or Podman?"));
}

#[test]
fn a_dead_socket_is_unavailable_with_the_attempted_action() {
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
