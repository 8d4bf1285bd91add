//! Errors of old and new versions.

use drowse_provider_sdk::ErrorCode;

use super::*;

const START: &str = "POST /api2/json/nodes/pve1/lxc/100/status/start";

fn failed(reply: Reply) -> drowse_provider_sdk::Error {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    test.expect("api", START, reply);
    test.start("100").unwrap_err()
}

#[test]
fn a_missing_privilege_is_reported_for_both_generations() {
    let words = "Permission check failed (/vms/100, VM.PowerMgmt)";
    for reply in [old_error(403, words), new_error(403, words)] {
        let error = failed(reply);
        assert_eq!(*error.code(), ErrorCode::Denied);
        assert_eq!(error.attribute("http-status"), Some("403"));
        assert_eq!(
            error.message(),
            "start lxc/100 on pve1: 403 from POST /api2/json/nodes/pve1/lxc/100/status/start: \
             Permission check failed (/vms/100, VM.PowerMgmt); the token and its user need that \
             privilege on that path"
        );
    }
}

#[test]
fn a_wrong_token_is_not_retried() {
    let test = Harness::<Proxmox>::new();
    let refused = Reply::status(401).reason("permission denied - invalid PVE ticket");
    test.expect("api", LIST, refused.after(std::time::Duration::from_secs(3)));
    let error = test.status("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().contains("PVEAPIToken=USER@REALM!TOKENID=SECRET"), "{error}");
    assert!(test.requests()[0].timeout_ms.is_none(), "the grant's time, which is long enough");
}

#[test]
fn refused_parameters_are_named() {
    let body = json!({ "data": null, "errors": { "timeout": "type check failed" } });
    let reply = Reply::status(400).reason("Parameter verification failed.").body(body.to_string());
    let error = failed(reply);
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().contains("timeout: \"type check failed\""), "{error}");
}

#[test]
fn a_cluster_without_quorum_is_unavailable() {
    let error = failed(old_error(500, "cluster not ready - no quorum?"));
    assert_eq!(*error.code(), ErrorCode::Unavailable);
}

#[test]
fn an_error_without_a_message_has_its_status() {
    let error = failed(Reply::status(500));
    assert!(error.message().ends_with("status/start: no reason given"), "{error}");
    let error = failed(Reply::status(502).body("<html>a proxy</html>"));
    assert!(error.message().contains("502 from POST"), "{error}");
}
