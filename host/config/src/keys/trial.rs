//! The keys of a file for `drowse plugin test`.

use crate::{
    keys::provider,
    schema::{Kind, Table, default, optional, required},
    values::{ABILITIES, ARGUMENTS, COMMAND_INSIDE, COUNT, DURATION, FLAG, JSON, TEXT},
};

/// The top of the file.
pub(crate) static TRIAL: Table = Table {
    title: "The file",
    about: "A provider, as in the router's configuration, and a target of it to test on.",
    keys: &[
        required(
            "provider",
            Kind::Named(&provider::PROVIDER),
            "The provider: one, with the grants of the plugin under test.",
        ),
        required("test", Kind::Table(&TEST), "What to test on."),
    ],
};

/// `[test]`
pub(crate) static TEST: Table = Table {
    title: "[test]",
    about: "A target that may be started and stopped at will, and what is known of it.",
    keys: &[
        required("target", TEXT.kind, "Its handle."),
        default("settings", JSON.kind, "{}", "Its settings for the provider."),
        optional(
            "unknown",
            TEXT.kind,
            "a name that nobody uses",
            "A handle that a target could have and none has.",
        ),
        optional(
            "unknown-settings",
            JSON.kind,
            "those of the target",
            "The settings that it would have.",
        ),
        default(
            "timeout",
            DURATION.kind,
            "\"1m\"",
            "How long the platform may take until what was asked of it is so, or is reported.",
        ),
        default("grace", DURATION.kind, "\"10s\"", "The grace time of stops."),
        default(
            "addresses",
            FLAG.kind,
            "true",
            "The provider knows where the running target can be connected to.",
        ),
        optional(
            "exec",
            COMMAND_INSIDE.kind,
            "no command is run",
            "A command to run inside the target.",
        ),
        optional("exec-status", COUNT.kind, "0", "The exit status that it ends with."),
        optional(
            "disturb",
            ARGUMENTS.kind,
            "nobody does",
            "A program with its arguments that stops or kills the running target without the \
             provider: `watch` must report it.",
        ),
        default(
            "without",
            ABILITIES.kind,
            "[]",
            "Abilities that the plugin has, and that these settings or grants leave out.",
        ),
        default("may-recreate", FLAG.kind, "false", "The target may be made anew."),
        default("may-remove", FLAG.kind, "false", "The target may be taken away in the end."),
        default("keep-data", FLAG.kind, "false", "What is taken away leaves its data."),
    ],
};
