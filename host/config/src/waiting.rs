//! `[waiting]`

use std::path::Path;

use drowse_proxy::WaitingSettings;

use crate::{
    forms::{COUNT, FLAG, LINES, PATH, TEXT},
    read::{Reader, Section},
};

/// Reads what waiting visitors get. Without a directory of themes, one that stands `beside` the
/// configuration is used.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, beside: &Path) -> Option<WaitingSettings> {
    let section = top.table(r, "waiting")?;
    let theme = section.get(r, "theme", &TEXT);
    let themes = section.find(r, "themes", &PATH);
    let logs = section.get(r, "logs", &LINES);
    let live = section.get(r, "live", &FLAG);
    let held = section.get(r, "held", &COUNT);
    let streams = section.get(r, "streams", &COUNT);
    let beside = beside.join("themes");
    Some(WaitingSettings {
        theme: theme?,
        themes: themes?.or_else(|| beside.is_dir().then_some(beside)),
        logs: logs?,
        live: live?,
        held: held?,
        streams: streams?,
    })
}
