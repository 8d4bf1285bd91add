//! A user file, read again when it changes.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::users::{InvalidUsers, Users};

/// Minimum time between two looks at the file's metadata.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A file and the users that were read from it last.
pub(super) struct UserFile {
    path: PathBuf,
    users: Option<Arc<Users>>,
    stamp: Option<Stamp>,
    pub(super) checked: Option<Instant>,
    /// The last error, so that it is logged once.
    error: Option<String>,
}

/// Modification time, length and inode: they change when the file does.
type Stamp = (SystemTime, u64, u64);

// === impl UserFile ===

impl UserFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), users: None, stamp: None, checked: None, error: None }
    }

    /// The users, read again if the file has changed, and whether they were read now. While the
    /// file cannot be read, the users read before it remain valid; none if it never could. Blocks.
    pub(super) fn users(&mut self) -> (Option<Arc<Users>>, bool) {
        if self.checked.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) {
            return (self.users.clone(), false);
        }
        self.checked = Some(Instant::now());
        let stamp = fs::metadata(&self.path)
            .and_then(|held| Ok((held.modified()?, held.len(), held.ino())))
            .ok();
        if stamp.is_some() && stamp == self.stamp {
            return (self.users.clone(), false);
        }
        let users = self.path.display();
        let reloaded = match Users::read(&self.path) {
            Ok(read) => {
                if self.users.is_some() {
                    tracing::info!(%users, "user file reloaded");
                }
                self.users = Some(Arc::new(read));
                self.stamp = stamp;
                self.error = None;
                true
            }
            Err(error) => {
                let message = Some(error.to_string());
                if self.error != message {
                    tracing::warn!(
                        %users, %error,
                        "user file cannot be read, the users read before remain valid; run \
                         `drowse check` for advice"
                    );
                    self.error = message;
                }
                // An invalid file stays invalid until it changes. A file that could not be opened
                // is tried again: a change of its permissions does not change the stamp.
                self.stamp = stamp.filter(|_| !matches!(error, InvalidUsers::Unreadable(_)));
                false
            }
        };
        (self.users.clone(), reloaded)
    }
}
