//! The plugin's description.

use drowse_provider_sdk::{ErrorCode, testing::check_description};

use super::*;

#[test]
fn the_description_is_valid() {
    check_description::<Proxmox>();
}

#[test]
fn an_unknown_key_and_an_invalid_value_are_named() {
    let refusal = |settings| {
        let error = Harness::<Proxmox>::with_settings(settings).configure().unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        error.message().to_owned()
    };
    let message = refusal(json!({ "node": "pve1" }));
    assert!(message.starts_with("settings: key \"node\": unknown field"), "{message}");
    let message = refusal(json!({ "stop": "suspend" }));
    assert!(message.contains("expected `shutdown` or `suspend-to-disk`"), "{message}");
    let message = refusal(json!({ "poll": "0s" }));
    assert_eq!(message, "settings: key \"poll\": must be greater than zero");
}
