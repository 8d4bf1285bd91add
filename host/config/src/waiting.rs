//! `[waiting]`

use std::path::Path;

use drowse_proxy::WaitingSettings;

use crate::{
    read::{Reader, Section},
    values::{COUNT, FLAG, LINES, PATH, TEXT},
};

/// Reads what waiting visitors get. Without a directory of themes, one that stands `beside` the
/// configuration is used.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, beside: &Path) -> Option<WaitingSettings> {
    let section = top.table(r, "waiting")?;
    let theme = section.get(r, "theme", &TEXT);
    let themes = section.find(r, "theme-dir", &PATH);
    let logs = section.get(r, "log-lines", &LINES);
    let live = section.get(r, "live", &FLAG);
    let held = section.get(r, "max-held", &COUNT);
    let streams = section.get(r, "max-streams", &COUNT);
    let beside = beside.join("themes");
    Some(WaitingSettings {
        theme: theme?,
        themes: themes?.or_else(|| beside.is_dir().then_some(beside)),
        logs: logs?,
        live: live?,
        max_held: held?,
        max_streams: streams?,
    })
}
