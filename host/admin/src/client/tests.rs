#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    os::unix::net::UnixListener,
    process::Command,
};

use super::*;

/// A user that is neither root nor this one.
const ANOTHER: u32 = 4711;

async fn untrusted(socket: &std::path::Path) -> String {
    match Client::new(socket).status().await {
        Err(error @ ClientError::Untrusted { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_socket_in_a_directory_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    chown(directory.path(), Some(ANOTHER), None).unwrap();
    let why = untrusted(&socket).await;
    assert!(why.contains("belongs to another user") && why.contains("nothing was sent"), "{why}");
    assert!(listener.accept().is_err(), "no connection was made");

    // A symbolic link of another user is refused like a directory of theirs.
    let real = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(real.path().join("control.sock")).unwrap();
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("drowse");
    std::os::unix::fs::symlink(real.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(ANOTHER), None).unwrap();
    assert!(untrusted(&link.join("control.sock")).await.contains("belongs to another user"));
}

#[tokio::test]
async fn a_socket_in_a_directory_writable_for_others_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    for others in [0o777, 0o1777, 0o770] {
        fs::set_permissions(directory.path(), Permissions::from_mode(others)).unwrap();
        let why = untrusted(&socket).await;
        assert!(why.contains("others may write to its directory"), "{why}");
    }
}

/// A process of another user listens although the directory is private: it bound the socket before
/// the mode was set.
#[tokio::test]
async fn nothing_is_sent_to_a_process_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let socket = directory.path().join("control.sock");
    let script = "import os, socket, sys\n\
                  os.setuid(4711)\n\
                  s = socket.socket(socket.AF_UNIX)\n\
                  s.bind(sys.argv[1])\n\
                  s.listen()\n\
                  print('up', flush=True)\n\
                  c, _ = s.accept()\n\
                  print(len(c.recv(100)), flush=True)\n";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(&socket).stdout(std::process::Stdio::piped());
    let Ok(mut listener) = python.spawn() else { return };
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(listener.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    let why = untrusted(&socket).await;
    assert!(why.contains("a process of user 4711 listens on it"), "{why}");
    assert_eq!(lines.next().unwrap().unwrap(), "0", "nothing was sent");
    listener.wait().unwrap();
}

#[tokio::test]
async fn without_the_directory_no_router_is_running() {
    let directory = tempfile::tempdir().unwrap();
    let result = Client::new(directory.path().join("none/control.sock")).status().await;
    assert!(matches!(result, Err(ClientError::NotRunning { .. })), "{result:?}");
}
