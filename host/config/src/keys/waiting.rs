//! The keys that say what waiting visitors get.

use crate::{
    schema::{Table, default, optional},
    values::{COUNT, FLAG, LINES, PATH, TEXT},
};

/// `[waiting]`
pub(crate) static WAITING: Table = Table {
    title: "[waiting]",
    about: "What visitors get while a workload wakes, on all listeners; which of them get the \
            page is said by each route. See [waiting visitors](waiting.md).",
    keys: &[
        default(
            "theme",
            TEXT.kind,
            "\"calm\"",
            "How the page looks: a directory of this name in `theme-dir`, or one of those in the \
             box, `calm` and `terminal`.",
        ),
        optional(
            "theme-dir",
            PATH.kind,
            "`themes` beside the file, if it exists",
            "Directory of themes of your own.",
        ),
        default(
            "log-lines",
            LINES.kind,
            "0",
            "The page shows so many of the workload's last log lines, where the provider has \
             them, and what the provider is doing just now. Whoever may see the page sees them: \
             logs can hold secrets.",
        ),
        default(
            "live",
            FLAG.kind,
            "true",
            "The page follows the wake. For this the paths below `/.well-known/drowse/` of every \
             host are answered by the router. Switched off, the page reloads instead.",
        ),
        default(
            "max-held",
            COUNT.kind,
            "16384",
            "Visitors held at a time, on all listeners; one more is refused with 503.",
        ),
        default(
            "max-streams",
            COUNT.kind,
            "4096",
            "Pages that follow a wake by a stream at a time; others look every few seconds.",
        ),
    ],
};
