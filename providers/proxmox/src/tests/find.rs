//! Finding a guest by its VMID.

use drowse_provider_sdk::{ErrorCode, Status};
use proptest::prelude::*;

use super::*;
use crate::handle::{Handle, Kind};

const PERMISSIONS: &str = "GET /api2/json/access/permissions?path=%2Fvms%2F200";
const GONE: &str = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";

fn status_on(test: &Harness<Proxmox>, node: &str) {
    let path = format!("GET /api2/json/nodes/{node}/lxc/100");
    test.expect("api", &format!("{path}/status/current"), current("stopped"));
    test.expect("api", &format!("{path}/config?current=1"), config());
}

#[test]
fn locations_are_queried_once_for_all_guests() {
    let test = proxmox();
    status_on(&test, "pve1");
    status_on(&test, "pve1");
    status_on(&test, "pve1");
    for handle in ["100", "lxc/100", "pve1/100"] {
        let seen = test.status(handle).unwrap();
        assert_eq!((seen.handle.as_str(), &seen.status), (handle, &Status::Stopped));
        assert_eq!(seen.native_id.as_deref(), Some("lxc/100"));
    }
}

#[test]
fn a_migrated_guest_is_found_again() {
    let test = proxmox();
    expect_status(&test, old_error(500, GONE));
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve2")])));
    status_on(&test, "pve2");
    assert_eq!(test.status("pve1/100").unwrap().attribute("node"), Some("pve2"));
    status_on(&test, "pve2");
    test.status("pve1/100").unwrap();
}

#[test]
fn a_guest_migrated_from_a_dead_node_is_found_again() {
    let test = proxmox();
    expect_status(&test, old_error(595, "Connection refused"));
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve2")])));
    status_on(&test, "pve2");
    test.status("100").unwrap();
}

#[test]
fn a_dead_node_is_unavailable() {
    let test = proxmox();
    expect_status(&test, old_error(595, "Connection refused"));
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve1")])));
    let error = test.status("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("595"), "{error}");
}

#[test]
fn a_guest_on_no_node_is_missing() {
    let test = proxmox();
    expect_status(&test, new_error(500, GONE));
    test.expect("api", LIST, data(json!([])));
    assert_eq!(test.status("100").unwrap().status, Status::Missing);
}

#[test]
fn an_unlisted_guest_with_audit_privilege_is_missing() {
    let test = proxmox();
    let privileges = json!({ "/vms/200": { "VM.Audit": 1, "VM.PowerMgmt": 1 } });
    test.expect("api", PERMISSIONS, data(privileges.clone()));
    assert_eq!(test.status("200").unwrap().status, Status::Missing);
    test.expect("api", LIST, data(json!([])));
    test.expect("api", PERMISSIONS, data(privileges));
    assert_eq!(*test.start("200").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn an_unlisted_guest_without_audit_privilege_is_denied() {
    let test = proxmox();
    test.expect("api", PERMISSIONS, data(json!({})));
    let error = test.status("200").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().ends_with("lacks VM.Audit on /vms/200"), "{error}");
}

#[test]
fn a_handle_of_the_wrong_kind_is_refused() {
    let test = proxmox();
    let error = test.status("qemu/100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().ends_with("guest 100 is lxc, not qemu"), "{error}");
}

#[test]
fn an_invalid_handle_is_refused_before_a_request() {
    let test = Harness::<Proxmox>::new();
    for handle in
        ["", "web", "99", "0100x", "+100", "a/b/100", "../100", "pve1/", "n.x/100", " 100"]
    {
        let error = test.start(handle).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest, "{handle:?}");
    }
    assert!(test.requests().is_empty());
}

proptest! {
    #[test]
    fn a_valid_handle_is_parsed(vmid in 100_u32..=999_999_999, node in "[a-z][a-z0-9-]{0,20}") {
        let plain = Handle::parse(&vmid.to_string()).unwrap();
        prop_assert_eq!(plain, Handle { vmid, kind: None });
        let kind = Kind::parse(&node);
        prop_assert_eq!(Handle::parse(&format!("{node}/{vmid}")).unwrap(), Handle { vmid, kind });
    }

    #[test]
    fn any_other_text_is_no_handle(text in "\\PC{0,30}") {
        if let Ok(handle) = Handle::parse(&text) {
            let digits: String = text.rsplit('/').next().unwrap().to_owned();
            prop_assert_eq!(digits.trim_start_matches('0'), handle.vmid.to_string());
        }
    }
}
