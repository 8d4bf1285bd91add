use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[test]
fn a_file_is_replaced_atomically_without_leftovers() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("notes");
    write(&file, b"first", 0o600).unwrap();
    write(&file, b"second", 0o640).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"second");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (file, precious) = (home.path().join("notes"), home.path().join("precious"));
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, &file).unwrap();
    write(&file, b"notes", 0o600).unwrap();
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(fs::read(&file).unwrap(), b"notes");
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
}

#[test]
fn concurrent_writers_leave_one_complete_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("notes");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for _ in 0..50 {
                    write(file, &[b'0' + thread; 4096], 0o600).unwrap();
                }
            });
        }
    });
    let held = fs::read(&file).unwrap();
    assert!(held.len() == 4096 && held.iter().all(|byte| *byte == held[0]));
}

#[test]
fn a_failed_rename_leaves_no_temporary_file() {
    let home = tempfile::tempdir().unwrap();
    let taken = home.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(write(&taken, b"text", 0o600).is_err());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}
