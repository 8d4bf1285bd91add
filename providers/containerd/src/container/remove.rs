//! Taking a container away.

use drowse_provider_sdk::{RemoveOptions, Result, warn};

use super::{Target, end::KILL_TIME};
use crate::{daemon::Key, signals};

// === impl Target ===

impl Target<'_> {
    /// Takes away network, task, container and snapshot, in this order. Whatever fails is told, and
    /// the rest is done. Data that is to be kept is made safe before anything is touched: if that
    /// fails, nothing has been stopped.
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
            kept.map_err(|error| error.context("its data cannot be kept").context(&attempt))?;
        }
        let mut failed = None;
        let mut step = |what: &str, done: Result<()>| {
            if let Err(error) = done {
                warn!("{attempt}: {what}: {error}");
                failed.get_or_insert(error.context(what));
            }
        };
        if container.is_some() {
            step("its task", self.end(Some(signals::KILL), KILL_TIME, true));
            // Also what nobody has written down.
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
