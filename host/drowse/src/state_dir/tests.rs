use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn two_routers_do_not_share_one_directory() {
    let home = directory();
    let first = StateDir::open(home.path()).expect("free");
    let second = StateDir::open(home.path()).err().expect("taken").to_string();
    assert!(second.contains("another router"), "{second}");
    drop(first);
    StateDir::open(home.path()).expect("free again");
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let home = directory();
    let open = |mode| {
        fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).expect("ours");
        StateDir::open(&home.path().join("state")).map(|_| ())
    };
    open(0o700).expect("ours alone");
    let above = open(0o777).expect_err("exposed").to_string();
    assert!(above.contains("the directory above it"), "{above}");
    open(0o1777).expect("as in /tmp");
    let state = home.path().join("state");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o770)).expect("ours");
    let own = open(0o700).expect_err("exposed").to_string();
    assert!(own.contains("other users may write to it"), "{own}");
}

#[test]
fn a_link_in_its_place_is_not_followed() {
    let home = directory();
    let state_dir = StateDir::open(home.path()).expect("free");
    let other = home.path().join("other");
    fs::write(&other, "precious").expect("written");
    symlink(&other, home.path().join("notes")).expect("linked");
    state_dir.write("notes", b"").expect("written");
    assert_eq!(fs::read_to_string(&other).expect("read"), "precious");
}
