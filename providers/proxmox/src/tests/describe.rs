//! What the plugin says of itself.

use drowse_provider_sdk::{ErrorCode, testing::check_description};

use super::*;

#[test]
fn it_describes_itself_as_a_host_understands() {
    check_description::<Proxmox>();
}

#[test]
fn an_unknown_key_and_a_wrong_word_are_refused_by_name() {
    let refusal = |settings| {
        let error = Harness::<Proxmox>::with_settings(settings).configure().unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        error.message().to_owned()
    };
    let told = refusal(json!({ "node": "pve1" }));
    assert!(told.starts_with("settings: key \"node\": unknown field"), "{told}");
    let told = refusal(json!({ "stop": "suspend" }));
    assert!(told.contains("expected `shutdown` or `suspend-to-disk`"), "{told}");
    let told = refusal(json!({ "poll": "0s" }));
    assert_eq!(told, "settings: key \"poll\": expected more than nothing");
}
