//! Advice if the router may not connect to a Unix socket.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Mode bit for writing by the group, which connecting requires.
const GROUP_WRITES: u32 = 0o020;
const GROUPS: &str = "/etc/group";

/// Adds advice to a permission error: the group to join, or the user to run as.
pub(super) fn explain(socket: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let advice = match fs::metadata(socket) {
        Ok(found) if found.mode() & GROUP_WRITES != 0 => {
            let groups = fs::read_to_string(GROUPS).unwrap_or_default();
            let group = group_name(&groups, found.gid());
            format!("add the router's user to group {group} and start it again, or run it as root")
        }
        Ok(found) => {
            format!("run the router as the socket's owner (uid {}) or as root", found.uid())
        }
        Err(_) => "a directory above it is not accessible: run the router as root".to_owned(),
    };
    io::Error::new(error.kind(), format!("{error}: {advice}"))
}

/// The name of a group in the text of `/etc/group`, else its number.
fn group_name(groups: &str, gid: u32) -> String {
    let line = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = line.filter(|fields| fields.get(2).and_then(|it| it.parse().ok()) == Some(gid));
    let mut names = named.filter_map(|fields| fields.first().map(|name| (*name).to_owned()));
    names.next().unwrap_or_else(|| gid.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixListener};

    use super::*;

    fn denied(path: &Path) -> String {
        explain(path, io::Error::from(io::ErrorKind::PermissionDenied)).to_string()
    }

    #[test]
    fn a_refused_socket_names_the_group_to_join() {
        let groups = "root:x:0:\ndocker:x:998:ann\n";
        assert_eq!(group_name(groups, 998), "docker");
        assert_eq!(group_name(groups, 7), "7");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set(0o660);
        let message = denied(&path);
        let own =
            group_name(&fs::read_to_string(GROUPS).unwrap(), fs::metadata(&path).unwrap().gid());
        assert!(
            message.contains(&format!("add the router's user to group {own} and")),
            "{message}"
        );
        set(0o600);
        assert!(denied(&path).contains("run the router as the socket's owner"));
        assert!(
            denied(&dir.path().join("nowhere")).contains("a directory above it is not accessible")
        );
    }

    #[test]
    fn other_errors_are_unchanged() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        let before = error.to_string();
        assert_eq!(explain(Path::new("/nowhere"), error).to_string(), before);
    }
}
