//! Removing a container.

use drowse_provider_sdk::{RemoveOptions, Result, warn};

use super::{Target, end::KILL_TIMEOUT};
use crate::{daemon::Key, signals};

// === impl Target ===

impl Target<'_> {
    /// Removes network attachment, task, container and snapshot, in this order. A failed step is
    /// logged, and the others still run. Data to preserve is protected first: if that fails,
    /// nothing has been stopped.
    pub(crate) fn remove(&self, options: &RemoveOptions) -> Result<()> {
        let attempt = self.attempt("remove");
        let container = self.daemon.container(self.id);
        let container = container.map_err(|error| error.context(&attempt))?;
        let network = container.as_ref().and_then(|it| self.network(it).ok().flatten());
        let data = self.data();
        let key = container
            .as_ref()
            .filter(|it| !it.snapshot_key.is_empty())
            .map(|it| Key { snapshotter: &it.snapshotter, key: &it.snapshot_key });
        if let Some(key) = key.filter(|_| options.preserve_data) {
            let kept = data.keep(key);
            kept.map_err(|error| error.context("preserve its data").context(&attempt))?;
        }
        let mut failed = None;
        let mut step = |what: &str, done: Result<()>| {
            if let Err(error) = done {
                warn!("{attempt}: {what}: {error}");
                failed.get_or_insert(error.context(what));
            }
        };
        if container.is_some() {
            step("its task", self.end(Some(signals::KILL), KILL_TIMEOUT, true));
            // Also releases addresses that no label has.
            self.detach(network, 0);
            step("its record", self.daemon.delete_container(self.id));
        }
        if !options.preserve_data {
            if let Some(key) = key {
                step("its snapshot", self.daemon.remove_snapshot(key));
            }
            step("its data", data.remove());
        }
        failed.map_or(Ok(()), |error| Err(error.context(attempt)))
    }
}
