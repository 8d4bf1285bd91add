//! Listing guests, and watching them.

use drowse_provider_sdk::{Status, testing::Report};

use super::*;

#[test]
fn guests_come_in_pages_without_templates() {
    let test = Harness::<Proxmox>::new();
    let mut all: Vec<Value> = (100..=250).rev().map(|vmid| guest("lxc", vmid, "pve1")).collect();
    all[150]["template"] = json!(1);
    all[149]["status"] = json!("running");
    all[149]["tags"] = json!("web");
    all.push(json!({ "type": "storage", "node": "pve1", "vmid": 7 }));
    test.expect("api", LIST, data(json!(all))).expect("api", LIST, data(json!(all)));
    let first = test.list(None).unwrap();
    assert_eq!(first.observations.len(), 100);
    let seen = &first.observations[0];
    assert_eq!((seen.handle.as_str(), &seen.status), ("101", &Status::Running));
    assert_eq!((seen.label("tag.web"), seen.attribute("name")), (Some(""), Some("guest101")));
    let last = test.list(first.next.as_deref()).unwrap();
    assert_eq!((last.observations.len(), last.next), (50, None));
    assert_eq!(last.observations[49].handle, "250");
}

#[test]
fn the_description_of_a_guest_with_the_tag_drowse_is_read_in_a_list() {
    let test = Harness::<Proxmox>::new();
    let mut marked = guest("lxc", 100, "pve1");
    marked["tags"] = json!("drowse");
    test.expect("api", LIST, data(json!([marked, guest("lxc", 102, "pve1")])));
    let written = json!({ "tags": "drowse", "description": "drowse.host=a.example" });
    test.expect("api", &format!("GET {LXC}/config?current=1"), data(written));
    let page = test.list(None).unwrap();
    assert_eq!(page.observations[0].label("drowse.host"), Some("a.example"));
    assert!(page.observations[1].labels.is_empty());
}

#[test]
fn a_change_is_reported_once_per_handle() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    expect_machine_status(&test, current("stopped"));
    let mut woken = guest("lxc", 100, "pve1");
    woken["status"] = json!("running");
    woken["uptime"] = json!(12);
    let both = data(json!([woken.clone(), guest("qemu", 101, "pve1")]));
    test.expect("api", LIST, both);
    expect_status(&test, current("running"));
    woken["uptime"] = json!(22);
    woken["cpu"] = json!(0.5);
    test.expect("api", LIST, data(json!([woken, guest("qemu", 101, "pve1")])));
    test.expect("api", LIST, old_error(500, "something"));
    let watched = test.watch();
    assert_eq!(watched.reports[0], Report::Synced);
    let handles: Vec<&str> =
        watched.observations().iter().map(|seen| seen.handle.as_str()).collect();
    assert_eq!(handles, ["100", "lxc/100", "pve1/100"]);
    assert!(watched.observations().iter().all(|seen| seen.status == Status::Running));
    assert!(watched.error.is_some());
}

#[test]
fn stale_list_entries_are_not_reported_and_missed_changes_are() {
    let container = |status: &str| {
        let mut listed = guest("lxc", 100, "pve1");
        listed["status"] = json!(status);
        data(json!([listed]))
    };
    let test = Harness::<Proxmox>::new();
    // It was started just before, and is killed before its node reports that.
    test.expect("api", LIST, container("stopped"));
    expect_status(&test, current("running"));
    test.expect("api", LIST, container("stopped"));
    expect_status(&test, current("stopped"));
    // Its node reports the previous instance once more.
    test.expect("api", LIST, container("running"));
    expect_status(&test, current("stopped"));
    test.expect("api", LIST, container("stopped"));
    test.expect("api", LIST, old_error(500, "the end"));
    let watched = test.watch();
    let own = watched.observations().into_iter().filter(|seen| seen.handle == "100");
    let reported: Vec<_> = own.map(|seen| (&seen.status, seen.native_status.as_str())).collect();
    assert_eq!(reported, [(&Status::Stopped, "stopped")]);
}

#[test]
fn a_guest_started_without_an_address_is_polled_until_it_has_one() {
    let test = set_up(json!({ "patience": "0s" }));
    expect_status(&test, current("running"));
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    let settings = json!({ "networks": ["10.0.0.0/24"] });
    assert!(test.start(("100", settings)).unwrap().addresses.is_empty());
    for reported in [data(json!(null)), interfaces("10.0.0.5/24")] {
        test.expect("api", LIST, data(json!([guest("lxc", 100, "pve1")])));
        expect_status(&test, current("running"));
        test.expect("api", &format!("GET {LXC}/config?current=1"), config());
        test.expect("api", &format!("GET {LXC}/interfaces"), reported);
    }
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve1")])));
    expect_status(&test, current("running"));
    test.expect("api", LIST, old_error(500, "the end"));
    let watched = test.watch();
    let first = watched.observations()[0];
    assert_eq!(first.addresses[0].host, "10.0.0.5");
    assert_eq!(test.memo("awaited"), None, "and no longer");
}
