//! `[plugin-limits]`

use drowse_plugins::settings::{CompileLimits, PluginLimits};

use crate::{
    schema::table,
    tree::{Entries, Value},
    units,
    values::{DurationText, Size},
};

table! {
    /// Limits that all plugins share, in addition to the limits of each provider.
    pub(crate) struct PluginLimitsTable("[plugin-limits]") {
        /// Maximum memory of the calls of all providers at a time. Half of it is divided evenly among the
        /// providers, the other half goes to the calls that ask first. A call that gets no memory waits
        /// for 5 s and then fails as `unavailable`. Dynamic libraries do not count.
        memory: Size, otherwise "a quarter of the machine's memory or of the cgroup's, from `64MiB` to `1GiB`";
        /// Maximum memory for the compilation of one plugin (`RLIMIT_DATA`). Two are compiled at a time,
        /// each in its own process.
        compile_memory: Size = "\"2GiB\"";
        /// Maximum CPU time for the compilation of one plugin, in whole seconds (`RLIMIT_CPU`). The
        /// elapsed time may be five times as long, and at least a minute.
        compile_cpu_time: DurationText = "\"1m\"";
    }
}

// === impl PluginLimitsTable ===

impl PluginLimitsTable {
    pub(crate) fn settings(self) -> Option<PluginLimits> {
        Some(PluginLimits {
            memory: self.memory.value?.unwrap_or(PluginLimits::default().memory),
            compile: CompileLimits {
                memory: self.compile_memory.value?,
                time: self.compile_cpu_time.value?,
            },
        })
    }
}

/// Takes over the valid limits of a file that may have errors.
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
    let written = text("compile-cpu-time").and_then(|text| units::duration(text).ok());
    *time = written.filter(|time| !time.is_zero()).unwrap_or(*time);
}
