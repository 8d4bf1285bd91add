//! Every key of the configuration, documented where it is defined.

use crate::{
    schema::{Kind, Table, default, optional, required},
    values::{
        ADOPT, ALARMS, COUNT, DURATION, FLAG, IDLE, JSON, NEEDS, PATH, POOL_NAME, PORT, PRIORITY,
        RATE, SIGNERS, SIMILAR_PATHS, SIZE, TEXT, WAITING, WINDOWS,
    },
};

pub(crate) mod life;
pub(crate) mod listener;
pub(crate) mod plugins;
pub(crate) mod provider;
pub(crate) mod trial;
pub(crate) mod waiting;
pub(crate) mod who;

/// The top of the file.
pub(crate) static ROUTER: Table = Table {
    title: "The router",
    about: "Keys at the top of the file, before the first `[table]`. A path that does not begin \
            with `/` is relative to the file it is written in.",
    keys: &[
        optional(
            "plugin-dir",
            PATH.kind,
            "`plugins` beside the file if it exists, else `/var/lib/drowse/plugins` for root and \
             `$XDG_DATA_HOME/drowse/plugins` (`~/.local/share/drowse/plugins`) for others",
            "Directory of provider plugins. A file `NAME.wasm` there goes before the bundled \
             provider of the same name and is used as soon as it appears; so does `NAME.so` where \
             `allow-dylib` is on.",
        ),
        default(
            "allow-dylib",
            FLAG.kind,
            "false",
            "Plugins may be dynamic libraries: `NAME.so` in the directory of plugins. They are \
             trusted code that nothing confines: they can do whatever the router can, and their \
             memory and computing are not limited.",
        ),
        default(
            "plugin-keys",
            SIGNERS.kind,
            "[]",
            "Public keys of minisign whose signatures of plugins count. A plugin with a wrong \
             signature by one of them in `NAME.wasm.minisig` beside it is refused.",
        ),
        default(
            "require-signatures",
            FLAG.kind,
            "false",
            "A plugin without a signature by one of `plugin-keys` is refused. Those in the box \
             are part of the router's program and need none.",
        ),
        optional(
            "cache-dir",
            PATH.kind,
            "`/var/cache/drowse` for root, `$XDG_CACHE_HOME/drowse` (`~/.cache/drowse`) for others",
            "Directory for compiled plugins. It is private to the router's user and can be \
             deleted at any time.",
        ),
        default(
            "plugin-limits",
            Kind::Table(&plugins::PLUGIN_LIMITS),
            "{}",
            "What all plugins together may use up.",
        ),
        optional(
            "state-dir",
            PATH.kind,
            "`/var/lib/drowse` for root, `$XDG_STATE_HOME/drowse` (`~/.local/state/drowse`) for others",
            "The directory for what is remembered over restarts: which workloads are awake because \
             somebody asked for them, and when they were used last.",
        ),
        optional(
            "control-socket",
            PATH.kind,
            "`/run/drowse/control.sock` for root, `$XDG_RUNTIME_DIR/drowse/control.sock` for \
             others, `/tmp/drowse-UID/control.sock` where that is not set",
            "Unix socket on which `drowse status` and its like reach the running router.",
        ),
        optional("threads", COUNT.kind, "one for each core", "Threads that serve visitors."),
        default(
            "log",
            TEXT.kind,
            "\"info\"",
            "What is logged: `error`, `warn`, `info`, `debug` or `trace`, or more for parts of \
             the router, such as `info,drowse_proxy=debug`.",
        ),
        optional(
            "listener",
            Kind::Tables(&listener::LISTENER),
            "none, and nothing is served",
            "Where visitors come in.",
        ),
        optional(
            "provider",
            Kind::Named(&provider::PROVIDER),
            "none",
            "Who starts and stops workloads.",
        ),
        optional("workload", Kind::Named(&WORKLOAD), "none", "What sleeps and wakes."),
        optional("pool", Kind::Named(&life::POOL), "none", "Ceilings that workloads share."),
        optional("route", Kind::Tables(&ROUTE), "none", "Which visitor wants which workload."),
        optional("auth", Kind::Named(&who::AUTH), "none", "Ways to authenticate."),
        default("waiting", Kind::Table(&waiting::WAITING), "{}", "What waiting visitors get."),
    ],
};

/// `[workload.NAME]`
pub(crate) static WORKLOAD: Table = Table {
    title: "[workload.NAME]",
    about: "One thing that sleeps and wakes. The name is yours and stays when the container \
            behind it is made anew.",
    keys: &[
        required("provider", TEXT.kind, "The provider that starts and stops it."),
        optional(
            "target",
            TEXT.kind,
            "the workload's name",
            "What the provider calls it: a container's name, a command's name.",
        ),
        default(
            "settings",
            JSON.kind,
            "{}",
            "Settings for this provider; `drowse plugin inspect` shows which.",
        ),
        default(
            "idle",
            IDLE.kind,
            "\"10m\"",
            "Sleeps when nobody has been inside for this long, or `never`.",
        ),
        default("sleep", Kind::Table(&life::SLEEP), "{}", "How it is put to sleep."),
        optional(
            "ready",
            Kind::Table(&life::READY),
            "`{ http = \"/\" }` when a route leads to it, else `{ started = true }`",
            "When it is truly ready, so that visitors are let in.",
        ),
        optional(
            "deep-sleep",
            Kind::Table(&life::DEEPER),
            "one kind of sleep",
            "When and how its light sleep becomes a deeper one.",
        ),
        default(
            "keep-awake-if",
            Kind::Table(&life::BUSY),
            "{}",
            "What keeps it awake though nobody comes.",
        ),
        default("wake", Kind::Table(&WAKE), "{}", "How it is woken, and by whom."),
        default(
            "adopt",
            ADOPT.kind,
            "\"keep\"",
            "What happens when it is found running and nobody here started it. `keep` serves it, \
             and its idle time begins when the first visitor has left; `sleep` serves it, and \
             the idle time begins at once; `ignore` leaves it alone until somebody wants it.",
        ),
        default(
            "needs",
            NEEDS.kind,
            "[]",
            "Other workloads that must be awake before this one is started, and for as long as \
             it is awake: names, or `{ workload = \"db\", until = \"started\" }`. `until` is \
             `healthy` (ready by its own check), `started` (the provider's word) or `completed` \
             (a job that has run). What compose wrote down as `depends_on` counts, too.",
        ),
        optional(
            "pool",
            POOL_NAME.kind,
            "no ceiling",
            "The `[pool.NAME]` whose ceiling it shares.",
        ),
        optional(
            "priority",
            PRIORITY.kind,
            "0",
            "The higher one of a pool is let in first and put to sleep last.",
        ),
        optional("pinned", FLAG.kind, "false", "It is never put to sleep for another one."),
        optional(
            "memory",
            SIZE.kind,
            "what the provider measures once it runs",
            "What it takes of its pool's memory.",
        ),
        default(
            "awake-during",
            WINDOWS.kind,
            "[]",
            "Times in which it is awake whether anybody comes or not, such as \
             `[\"mon-fri 08:00-18:00 Europe/Berlin\"]`.",
        ),
        optional(
            "auth",
            TEXT.kind,
            "none",
            "How visitors authenticate on its routes: the name of an `[auth.NAME]`.",
        ),
    ],
};

/// `workload.NAME.wake`
pub(crate) static WAKE: Table = Table {
    title: "[workload.NAME.wake]",
    about: "How a workload is woken, and who may wake it. Whoever may not gets 403 while it \
            sleeps, and comes in like everybody else while it is awake. A request for \
            `/robots.txt` or `/favicon.ico` that no person navigates to wakes nobody either, \
            unless `paths` names it.",
    keys: &[
        default(
            "timeout",
            DURATION.kind,
            "\"3m\"",
            "From the wake's begin until it is ready; then the wake has failed.",
        ),
        default(
            "cooldown",
            DURATION.kind,
            "\"5s\"",
            "After a failed wake visitors are told why for this long before it is tried again.",
        ),
        default(
            "at",
            ALARMS.kind,
            "[]",
            "Times at which it is woken before anybody comes, as cron fields and a time zone: \
             `[\"55 7 * * mon-fri Europe/Berlin\"]`.",
        ),
        who::paths("every path"),
        who::methods("every method"),
        who::from("every client"),
        who::not_from("nobody"),
        who::agents("every user agent"),
        who::not_agents("none"),
        who::probes("none"),
        who::bots("`wake`"),
        optional(
            "rate-limit",
            RATE.kind,
            "no limit",
            "So often visitors may wake it, all together, in any stretch of that time; then they \
             get 429 until there is room again.",
        ),
        optional(
            "client-rate-limit",
            RATE.kind,
            "no limit",
            "So often one client may wake it: an address, or the /64 network of an IPv6 address. \
             Coming to an awake workload, or to a wake that another one caused, does not count.",
        ),
    ],
};

/// `[[route]]`
pub(crate) static ROUTE: Table = Table {
    title: "[[route]]",
    about: "Which visitor wants which workload. An exact host goes before a wildcard, a longer \
            path before a shorter one; the order in the file does not matter.",
    keys: &[
        optional("listener", TEXT.kind, "the only one", "The listener the visitor comes in by."),
        default(
            "host",
            TEXT.kind,
            "\"*\"",
            "A host name, `*.example.org` for every name below it, or `*` for all.",
        ),
        default(
            "path",
            TEXT.kind,
            "\"/\"",
            "Beginning of the path, in whole segments: `/app` is `/app` and `/app/x`, not \
             `/apple`. A request's path is compared as servers resolve it: `/x/../app` is `/app`. \
             One that only some servers take for another route's, as `/app%2Fx`, is not found.",
        ),
        required("workload", TEXT.kind, "The workload that answers."),
        required("port", PORT.kind, "The workload's own port."),
        default(
            "waiting",
            WAITING.kind,
            "\"auto\"",
            "What a visitor gets while the workload wakes: `page` is a page that follows along, \
             `hold` keeps the request until it can be answered, `reject` is 503 with \
             Retry-After, `auto` is the page for a browser's navigation and `hold` for all else.",
        ),
        default(
            "hold-timeout",
            DURATION.kind,
            "\"1m\"",
            "A held visitor is turned away after this long.",
        ),
        optional(
            "wake",
            Kind::Table(&who::ROUTE_WAKE),
            "the workload's",
            "Who may wake the workload by this route.",
        ),
        optional(
            "auth",
            TEXT.kind,
            "the workload's",
            "How visitors authenticate: the name of an `[auth.NAME]`, or `none`.",
        ),
        optional(
            "similar-paths",
            SIMILAR_PATHS.kind,
            "`refuse`",
            "What is done with a path that some backends take for this route's protected one, as \
             `/ADMIN`, `/admin.json` or `/admin%20` for `/admin`, and that would reach the same \
             workload by a route with another `auth`: `refuse` answers 404, `allow` lets it \
             through. A path that has a route of its own is not refused. See \
             [protected paths](who-may-wake.md#protected-paths).",
        ),
    ],
};
