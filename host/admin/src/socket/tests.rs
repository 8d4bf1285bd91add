#![allow(clippy::unwrap_used)]

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_socket_is_private_to_its_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/drowse/control.sock");
    let _socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn a_second_router_gets_the_pid_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let _socket = ControlSocket::bind(&path).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    let expected = format!("a router runs already, pid {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_dead_router_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(std::os::unix::net::UnixListener::bind(with_suffix(&path, ".new")).unwrap());
    fs::write(with_suffix(&path, ".lock"), "4711\n").unwrap();
    let socket = ControlSocket::bind(&path).unwrap();
    tokio::net::UnixStream::connect(socket.path()).await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_router_that_died_while_binding_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    fs::create_dir(with_suffix(&path, ".new")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(with_suffix(&path, ".new").join("s")).unwrap());
    drop(ControlSocket::bind(&path).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_writable_for_others_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    for others in [0o770, 0o707, 0o1777] {
        fs::set_permissions(directory.path(), Permissions::from_mode(others)).unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::Exposed { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(&format!("{others:04o}")), "{message}");
        assert!(message.contains("`control-socket`"), "{message}");
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    ControlSocket::bind(&path).unwrap();
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    // Only root can change the owner of a directory; other users test with a directory of root.
    let directory = tempfile::tempdir().unwrap();
    let of_another = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(4711), None).unwrap();
        directory.path()
    } else {
        Path::new("/")
    };
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(of_another, link.path().join("link")).unwrap();
    for directory in [of_another.to_owned(), link.path().join("link")] {
        let error = ControlSocket::bind(&directory.join("control.sock")).unwrap_err();
        assert!(error.to_string().contains("belongs to another user"), "{error}");
    }
}

#[tokio::test]
async fn a_lock_file_that_is_a_symbolic_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let victim = directory.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, with_suffix(&path, ".lock")).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(error.to_string().contains("open its lock file"), "{error}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[tokio::test]
async fn all_files_are_removed_and_the_next_router_can_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    for _ in 0..2 {
        drop(ControlSocket::bind(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn the_error_of_an_uncreatable_directory_has_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ControlSocket::bind(&file.join("control.sock")).unwrap_err();
    assert!(error.to_string().contains("create its directory"), "{error}");
    assert!(error.to_string().contains("`control-socket` path"), "{error}");
}
