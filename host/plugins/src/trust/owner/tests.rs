use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

/// A directory with a file `plugin.wasm` in a directory `plugins`.
fn home() -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("plugins");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.join("plugin.wasm");
    fs::write(&file, "bytes").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (home, file)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn refusal(path: &Path) -> String {
    read(path, 100).expect_err("it is refused")
}

#[test]
fn a_file_that_only_root_and_our_user_may_write_is_read() {
    let (_home, file) = home();
    assert_eq!(read(&file, 100).unwrap().unwrap(), b"bytes");
    assert_eq!(read(&file.with_extension("none"), 100), Ok(None));
}

#[test]
fn a_path_that_others_may_write_to_is_refused_with_the_chmod_command() {
    let (home, file) = home();
    for path in [file.as_path(), file.parent().unwrap(), home.path()] {
        let before = fs::metadata(path).unwrap().permissions();
        for open in [0o020, 0o002] {
            mode(path, before.mode() | open);
            let why = refusal(&file);
            assert!(why.contains(&format!("others may write to {} ", path.display())), "{why}");
            assert!(why.contains(&format!("`chmod go-w {}`", path.display())), "{why}");
        }
        fs::set_permissions(path, before).unwrap();
        read(&file, 100).unwrap();
    }
}

#[test]
fn a_sticky_directory_above_is_allowed() {
    let (home, file) = home();
    mode(home.path(), 0o1777);
    assert!(read(&file, 100).unwrap().is_some());
}

#[test]
fn a_file_a_directory_or_a_link_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (home, file) = home();
    for path in [file.as_path(), file.parent().unwrap(), home.path()] {
        chown(path, Some(12345), None).unwrap();
        let why = refusal(&file);
        assert!(why.contains("belongs to user 12345"), "{why}");
        assert!(why.contains(&format!("`chown 0 {}`", path.display())), "{why}");
        chown(path, Some(0), None).unwrap();
    }
    let link = home.path().join("link.wasm");
    symlink(&file, &link).unwrap();
    assert!(read(&link, 100).unwrap().is_some());
    std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
    assert!(refusal(&link).contains("`chown -h 0"));
}

#[test]
fn directories_of_a_link_and_of_its_target_are_checked() {
    let (_home, file) = home();
    let (elsewhere, other) = home_of_links(&file);
    assert!(read(&other, 100).unwrap().is_some());
    mode(elsewhere.path(), 0o777);
    assert!(refusal(&other).contains("others may write"), "the link's directory is checked");
    mode(elsewhere.path(), 0o700);
    mode(file.parent().unwrap(), 0o777);
    assert!(refusal(&other).contains("others may write"), "the file's directory is checked");
}

/// A link to the directory of this file, and the file's path through it.
fn home_of_links(file: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("linked");
    symlink(file.parent().unwrap(), &link).unwrap();
    (elsewhere, link.join("plugin.wasm"))
}

#[test]
fn a_large_file_a_directory_or_a_pipe_is_refused_without_blocking() {
    let (home, file) = home();
    assert!(read(&file, 4).unwrap_err().contains("larger than"));
    assert!(refusal(home.path()).contains("not a file"));
    let pipe = home.path().join("pipe.wasm");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o600.into(), 0).unwrap();
    assert!(refusal(&pipe).contains("not a file"));
}

#[test]
fn a_path_for_a_shell_is_one_word() {
    assert_eq!(quoted(Path::new("/a/b-c.wasm")), "/a/b-c.wasm");
    assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
}
