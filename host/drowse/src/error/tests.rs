#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_router_of_root_is_hinted_at_where_there_may_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let mine = directory.path().join("mine.sock");
    let root = directory.path().join("drowse/control.sock");
    assert_eq!(hint(&mine, &root), None);
    std::fs::create_dir(directory.path().join("drowse")).unwrap();
    assert!(hint(&mine, &root).unwrap().contains("sudo"));
    assert_eq!(hint(&root, &root), None);
}
