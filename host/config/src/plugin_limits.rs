//! `[plugin-limits]`

use drowse_plugins::settings::{CompileLimits, PluginLimits};

use crate::{
    read::{Reader, Section},
    tree::{Entries, Value},
    units,
    values::{DURATION, SIZE},
};

/// Reads what all plugins together may use up.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>) -> Option<PluginLimits> {
    let section = top.table(r, "plugin-limits")?;
    let memory = section.find(r, "memory", &SIZE);
    let compile_memory = section.get(r, "compile-memory", &SIZE);
    let time = section.get(r, "compile-cpu-time", &DURATION);
    Some(PluginLimits {
        memory: memory?.unwrap_or(PluginLimits::default().memory),
        compile: CompileLimits { memory: compile_memory?, time: time? },
    })
}

/// Takes over what can be read of a file that may have errors.
pub(crate) fn take_over(limits: &mut PluginLimits, entries: &Entries) {
    let Some(Value::Table(entries)) = entries.get("plugin-limits").map(|it| &it.node.value) else {
        return;
    };
    let text = |key: &str| match &entries.get(key)?.node.value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let size = |key: &str| units::size(text(key)?).ok().filter(|size| *size > 0);
    let CompileLimits { memory, time } = &mut limits.compile;
    limits.memory = size("memory").unwrap_or(limits.memory);
    *memory = size("compile-memory").unwrap_or(*memory);
    let said = text("compile-cpu-time").and_then(|text| units::duration(text).ok());
    *time = said.filter(|time| !time.is_zero()).unwrap_or(*time);
}
