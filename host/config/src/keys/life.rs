//! The keys that say how a workload lives: how it sleeps, what it needs, whose place it takes.

use crate::{
    schema::{Key, Table, default, optional, required},
    values::{
        COMMAND_INSIDE, COUNT, DEEPER_METHOD, DURATION, FLAG, PERCENT, PORT, SIZE, SLEEP_METHOD,
        STATUSES, TEXT,
    },
};

/// What asks a workload to end.
const SIGNAL: Key = optional(
    "signal",
    TEXT.kind,
    "what the platform uses",
    "The signal to stop or kill with, such as `SIGTERM`.",
);

/// How long it is waited for.
const GRACE: Key = default(
    "grace",
    DURATION.kind,
    "\"10s\"",
    "The time it has to stop by itself, for `stop`. A program of this machine that the router runs \
     has it, five minutes at most, also when the router ends.",
);

/// `workload.NAME.sleep`
pub(crate) static SLEEP: Table = Table {
    title: "[workload.NAME.sleep]",
    about: "How a workload is put to sleep.",
    keys: &[
        default(
            "method",
            SLEEP_METHOD.kind,
            "\"stop\"",
            "`stop` asks it to end and kills it after the grace time, `pause` keeps it in \
             memory, `kill` ends it at once.",
        ),
        SIGNAL,
        GRACE,
    ],
};

/// `workload.NAME.deep-sleep`
pub(crate) static DEEPER: Table = Table {
    title: "[workload.NAME.deep-sleep]",
    about: "A second, deeper sleep: `sleep.method = \"pause\"` with `deep-sleep = { after = \"2h\" }` \
            wakes in milliseconds for two hours, and frees its memory after that. A visitor wakes \
            it from either.",
    keys: &[
        required("after", DURATION.kind, "After so long in the light sleep."),
        default(
            "method",
            DEEPER_METHOD.kind,
            "\"stop\"",
            "`stop` asks it to end and kills it after the grace time, `kill` ends it at once.",
        ),
        SIGNAL,
        GRACE,
    ],
};

/// `workload.NAME.keep-awake-if`
pub(crate) static BUSY: Table = Table {
    title: "[workload.NAME.keep-awake-if]",
    about: "What keeps a workload awake although nobody comes. When the idle time is over, \
            everything named here is asked; if one says so it stays awake and is asked again a \
            minute later, or after the idle time if that is shorter.",
    keys: &[
        optional(
            "cpu-above",
            PERCENT.kind,
            "not asked",
            "It uses more than so many percent of one core, by the provider's word.",
        ),
        optional(
            "http",
            TEXT.kind,
            "not asked",
            "Path of a request that is answered with one of `status` while it is busy.",
        ),
        default("status", STATUSES.kind, "200", "Statuses that mean that it is busy. For `http`."),
        optional(
            "exec",
            COMMAND_INSIDE.kind,
            "not asked",
            "A command, run inside the workload by its provider, that ends with exit status 0 \
             while it is busy.",
        ),
        optional(
            "players",
            FLAG.kind,
            "not asked",
            "Somebody plays on it: it is a Minecraft server.",
        ),
        optional(
            "port",
            PORT.kind,
            "the port of the first route to the workload",
            "The workload's own port to ask at. For `http` and `players`.",
        ),
    ],
};

/// `workload.NAME.ready`
pub(crate) static READY: Table = Table {
    title: "[workload.NAME.ready]",
    about: "When a workload is truly ready: exactly one of `http`, `tcp`, `health`, `minecraft`, \
            `exec`, `completed` and `started`. A web server often accepts connections long before \
            it answers, so `tcp` is not enough for one.",
    keys: &[
        optional("http", TEXT.kind, "no such check", "Path of a request that must be answered."),
        optional("tcp", FLAG.kind, "no such check", "A connection must be accepted."),
        optional(
            "health",
            FLAG.kind,
            "no such check",
            "The platform's own health check must pass, such as a container's `HEALTHCHECK`.",
        ),
        optional(
            "minecraft",
            FLAG.kind,
            "no such check",
            "A Minecraft server (Java edition) must answer a status request.",
        ),
        optional(
            "exec",
            COMMAND_INSIDE.kind,
            "no such check",
            "A command, run inside the workload by its provider, must end with exit status 0.",
        ),
        optional(
            "completed",
            FLAG.kind,
            "no such check",
            "It is a job: it must run and end with exit status 0. For what others need, such as \
             a migration; no route can lead to it.",
        ),
        optional(
            "started",
            FLAG.kind,
            "no such check",
            "The provider's word that it runs is enough.",
        ),
        optional(
            "port",
            PORT.kind,
            "the port of the first route to the workload",
            "The workload's own port to look at. For `http`, `tcp` and `minecraft`.",
        ),
        optional("method", TEXT.kind, "`GET`", "Method of the request. For `http`."),
        optional(
            "status",
            STATUSES.kind,
            "any but 502, 503 and 504",
            "Statuses that count as ready. For `http`.",
        ),
        optional("host", TEXT.kind, "its address", "`Host` header of the request. For `http`."),
        optional(
            "header",
            TEXT.kind,
            "none",
            "A header that the answer must have, `X-Ready`, or have with this value, \
             `X-Ready: yes`. For `http`.",
        ),
    ],
};

/// `[pool.NAME]`
pub(crate) static POOL: Table = Table {
    title: "[pool.NAME]",
    about: "A ceiling that some workloads share, so that more of them exist than fit. A wake that \
            would pass it first puts those to sleep that nobody uses: the lowest priority first, \
            then the longest idle. When all are in use, the wake waits for its turn and visitors \
            see their place. A place is taken together with places for what the workload needs \
            of the same pool.",
    keys: &[
        optional("max-awake", COUNT.kind, "no ceiling", "So many are awake at a time."),
        optional(
            "max-memory",
            SIZE.kind,
            "no ceiling",
            "So much memory they use at a time, by the provider's word once they run, before \
             that by their own `memory`.",
        ),
        default(
            "max-queued",
            COUNT.kind,
            "64",
            "So many wakes wait for their turn; one more fails.",
        ),
        default(
            "queue-timeout",
            DURATION.kind,
            "\"2m\"",
            "So long a wake waits; then it has failed.",
        ),
    ],
};
