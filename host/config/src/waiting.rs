//! `[waiting]`

use std::path::Path;

use drowse_proxy::WaitingSettings;

use crate::{
    schema::table,
    values::{Count, FilePath, Flag, LineCount, Text},
};

table! {
    /// The waiting page and the limits of waiting visitors, on all listeners. Each route chooses between
    /// the page, holding and rejecting. See [waiting visitors](waiting.md).
    pub(crate) struct WaitingTable("[waiting]") {
        /// The page's theme: a directory of this name in `theme-dir`, or one of the bundled themes,
        /// `calm` and `terminal`.
        theme: Text = "\"calm\"";
        /// Directory of your own themes.
        theme_dir: FilePath, otherwise "`themes` beside the file, if it exists";
        /// Number of the workload's latest log lines that the page shows, if the provider has them,
        /// together with the provider's current progress. Every visitor who sees the page sees them, and
        /// logs can hold secrets.
        log_lines: LineCount = "0";
        /// The page follows the wake. The router answers the paths below `/.well-known/drowse/` of every
        /// host for this. If switched off, the page reloads instead.
        live: Flag = "true";
        /// Maximum number of held visitors on all listeners; one more is refused with 503.
        max_held: Count = "16384";
        /// Maximum number of pages that follow a wake by a stream at a time; others poll every few
        /// seconds.
        max_streams: Count = "4096";
    }
}

// === impl WaitingTable ===

impl WaitingTable {
    /// The settings. Without `theme-dir`, a directory `themes` in `directory` is used.
    pub(crate) fn settings(self, directory: &Path) -> Option<WaitingSettings> {
        let beside = directory.join("themes");
        Some(WaitingSettings {
            theme: self.theme.value?,
            themes: self.theme_dir.value?.or_else(|| beside.is_dir().then_some(beside)),
            logs: self.log_lines.value?,
            live: self.live.value?,
            max_held: self.max_held.value?,
            max_streams: self.max_streams.value?,
        })
    }
}
