//! The keys that say what all plugins together may use up.

use crate::{
    schema::{Table, default, optional},
    values::{DURATION, SIZE},
};

/// `[plugin-limits]`
pub(crate) static PLUGIN_LIMITS: Table = Table {
    title: "[plugin-limits]",
    about: "What all plugins together may use up, beside the limits of each provider.",
    keys: &[
        optional(
            "memory",
            SIZE.kind,
            "a quarter of the machine's memory or of the cgroup's, from `64MiB` to `1GiB`",
            "Memory of the calls of all providers at a time. Half of it is divided evenly among the \
             providers, the other half goes to whoever asks first. A call that finds no room waits \
             for 5 s and then fails as `unavailable`. Dynamic libraries do not count.",
        ),
        default(
            "compile-memory",
            SIZE.kind,
            "\"2GiB\"",
            "Memory for the compilation of one plugin (`RLIMIT_DATA`). Two are compiled at a time, \
             each in a process of its own.",
        ),
        default(
            "compile-cpu-time",
            DURATION.kind,
            "\"1m\"",
            "CPU time for the compilation of one plugin, in whole seconds (`RLIMIT_CPU`). By the \
             clock it may take five times as long, and a minute.",
        ),
    ],
};
