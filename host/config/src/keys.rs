//! Every key of the configuration, documented where it is defined.

use crate::{
    forms::{
        ADDRESS, ADOPT, ALARMS, ARGUMENTS, COUNT, DURATION, FINGERPRINT, FLAG, HEADERS, IDLE, JSON,
        NEEDS, NETWORKS, PATH, POOL_NAME, PORT, PRIORITY, PROTOCOL, RATE, REACH, RULES, SIZE, TEXT,
        VARIABLES, WAITING, WINDOWS, WORDS,
    },
    schema::{Kind, Table, default, optional, required},
};

pub(crate) mod life;
pub(crate) mod waiting;
pub(crate) mod who;

/// The top of the file.
pub(crate) static ROUTER: Table = Table {
    title: "The router",
    about: "Keys at the top of the file, before the first `[table]`. A path that does not begin \
            with `/` is relative to the file it is written in.",
    keys: &[
        optional(
            "plugins",
            PATH.kind,
            "`plugins` beside the file if it exists, else `/var/lib/drowse/plugins` for root and \
             `$XDG_DATA_HOME/drowse/plugins` (`~/.local/share/drowse/plugins`) for others",
            "Directory of provider plugins. A file there goes before the bundled provider of the \
             same name and is used as soon as it appears.",
        ),
        optional(
            "cache",
            PATH.kind,
            "`/var/cache/drowse` for root, `$XDG_CACHE_HOME/drowse` (`~/.cache/drowse`) for others",
            "Directory for compiled plugins. It is private to the router's user and can be \
             deleted at any time.",
        ),
        optional(
            "state",
            PATH.kind,
            "`/var/lib/drowse` for root, `~/.local/state/drowse` for others",
            "The directory for what is remembered over restarts: which workloads are awake because \
             somebody asked for them, and when they were used last.",
        ),
        optional(
            "control",
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
            Kind::Tables(&LISTENER),
            "none, and nothing is served",
            "Where visitors come in.",
        ),
        optional("provider", Kind::Named(&PROVIDER), "none", "Who starts and stops workloads."),
        optional("workload", Kind::Named(&WORKLOAD), "none", "What sleeps and wakes."),
        optional("pool", Kind::Named(&life::POOL), "none", "Ceilings that workloads share."),
        optional("route", Kind::Tables(&ROUTE), "none", "Which visitor wants which workload."),
        optional("auth", Kind::Named(&who::AUTH), "none", "Ways to authenticate."),
        default("waiting", Kind::Table(&waiting::WAITING), "{}", "What waiting visitors get."),
    ],
};

/// `[[listener]]`
pub(crate) static LISTENER: Table = Table {
    title: "[[listener]]",
    about: "One bound socket.",
    keys: &[
        required("name", TEXT.kind, "What routes call it."),
        required("bind", ADDRESS.kind, "Address and port."),
        default("protocol", PROTOCOL.kind, "\"http\"", "What it speaks: HTTP/1.1 in the clear."),
        default(
            "trust",
            NETWORKS.kind,
            "[]",
            "Proxies in front of this one. Their `X-Forwarded-*` headers are believed and \
             extended; everybody else's are replaced.",
        ),
        optional(
            "proxy-protocol",
            Kind::Table(&who::PROXY_PROTOCOL),
            "not spoken",
            "Who tells by the PROXY protocol who the client is.",
        ),
        default("limits", Kind::Table(&LISTENER_LIMITS), "{}", "Bounds on clients and workloads."),
    ],
};

/// `listener.limits`
pub(crate) static LISTENER_LIMITS: Table = Table {
    title: "[listener.limits]",
    about: "Bounds on the clients of a listener and on what they are connected to.",
    keys: &[
        default(
            "connections",
            COUNT.kind,
            "20000",
            "Client connections at a time; more wait in the kernel.",
        ),
        default(
            "head-timeout",
            DURATION.kind,
            "\"15s\"",
            "From a request's first byte, or from a connection's begin, until the request's head \
             is complete.",
        ),
        default("head-size", SIZE.kind, "\"64KiB\"", "Bytes of a request's head."),
        default(
            "keep-alive",
            DURATION.kind,
            "\"75s\"",
            "A client connection without a request is closed after this long.",
        ),
        default(
            "connect-timeout",
            DURATION.kind,
            "\"5s\"",
            "Until a connection to a workload stands.",
        ),
        default(
            "response-timeout",
            DURATION.kind,
            "\"5m\"",
            "From the last piece of a request that the workload took until it takes the next one \
             or its response begins; then the client gets 504.",
        ),
        default(
            "body-timeout",
            DURATION.kind,
            "\"1m\"",
            "A client that sends nothing of its request's body for this long gets 408. Once the \
             response has begun, `read-timeout` counts for both sides.",
        ),
        default(
            "send-timeout",
            DURATION.kind,
            "\"5m\"",
            "A client that takes nothing of its response for this long is cut off. A player that \
             is paused does that.",
        ),
        default(
            "read-timeout",
            DURATION.kind,
            "\"1h\"",
            "A workload that has begun its response and sends nothing of it for this long is cut \
             off. Server-sent events and the like may be silent for a long time; a workload that \
             has vanished is noticed by the kernel, sooner.",
        ),
        default(
            "tunnel-idle",
            IDLE.kind,
            "\"never\"",
            "A WebSocket or other tunnel through which nothing passes for this long is closed, at \
             the latest after twice as long.",
        ),
        default(
            "held",
            COUNT.kind,
            "16384",
            "Visitors held at a time; one more is refused with 503. See `held` of `[waiting]`, \
             too.",
        ),
    ],
};

/// `[provider.NAME]`
pub(crate) static PROVIDER: Table = Table {
    title: "[provider.NAME]",
    about: "A plugin that starts and stops workloads on one platform, and everything it may do. \
            It reaches nothing that is not granted here. `drowse plugin inspect` shows what a \
            plugin asks for.",
    keys: &[
        required(
            "plugin",
            TEXT.kind,
            "A plugin's name (`docker` is `docker.wasm` in the plugins directory, else the one \
             in the box), or the path of a file.",
        ),
        default(
            "settings",
            JSON.kind,
            "{}",
            "Settings of the plugin's own; `drowse plugin inspect` shows which. Shown to the \
             plugin, so no place for a secret.",
        ),
        optional(
            "endpoint",
            Kind::Named(&ENDPOINT),
            "none",
            "Places it may call, by the name the plugin calls them by.",
        ),
        optional(
            "command",
            Kind::Named(&COMMAND),
            "none",
            "Programs it may run, by the name the plugin calls them by.",
        ),
        optional(
            "reach",
            REACH.kind,
            "near places",
            "Where its targets may be: networks, addresses, and names of hosts (`.lan` for all that \
             end so). Without it: this machine, private networks, and the names in the settings. \
             Link-local addresses and the provider's own endpoints never are.",
        ),
        default("limits", Kind::Table(&PROVIDER_LIMITS), "{}", "What it may use up."),
    ],
};

/// `provider.NAME.endpoint.NAME`
pub(crate) static ENDPOINT: Table = Table {
    title: "[provider.NAME.endpoint.NAME]",
    about: "A place outside that the provider may call. The router makes the connection and adds \
            the credentials; the plugin sees neither.",
    keys: &[
        required(
            "url",
            TEXT.kind,
            "`unix:///path`, `http://host:port` or `https://host:port`, with a path prefix if \
             everything is below one.",
        ),
        optional(
            "ca",
            PATH.kind,
            "the system's authorities",
            "PEM file of the only certificate authorities that are trusted. For `https`.",
        ),
        optional(
            "fingerprint",
            FINGERPRINT.kind,
            "none",
            "SHA-256 digest of the only certificate that is accepted, whatever it says. For \
             `https`.",
        ),
        default(
            "headers",
            HEADERS.kind,
            "{}",
            "Headers that the router adds: a text, `{ env = \"NAME\", prefix = \"Bearer \" }` or \
             `{ file = \"path\", prefix = \"…\" }`. Never shown.",
        ),
        optional(
            "rules",
            RULES.kind,
            "what the plugin asks for",
            "Allowed requests: `METHOD /path`, or `METHOD+body /path` for those that carry a body. \
             `*` is any method or one path segment, a final `**` any rest.",
        ),
        default(
            "timeout",
            DURATION.kind,
            "\"30s\"",
            "Until a response begins, when the plugin names no shorter time.",
        ),
    ],
};

/// `provider.NAME.command.NAME`
pub(crate) static COMMAND: Table = Table {
    title: "[provider.NAME.command.NAME]",
    about: "A program that the provider may run. It inherits nothing from the router but `PATH`, \
            and it is stopped when the router ends.",
    keys: &[
        required("run", ARGUMENTS.kind, "Program and arguments. There is no shell."),
        default("environment", VARIABLES.kind, "{}", "Its environment. Never shown."),
        optional("directory", PATH.kind, "the router's", "The directory it starts in."),
        default(
            "extra-arguments",
            FLAG.kind,
            "false",
            "The plugin may append arguments of its own.",
        ),
        default(
            "extra-environment",
            WORDS.kind,
            "[]",
            "Names of variables that the plugin may add.",
        ),
    ],
};

/// `provider.NAME.limits`
pub(crate) static PROVIDER_LIMITS: Table = Table {
    title: "[provider.NAME.limits]",
    about: "What a provider may use up. One that passes a limit is stopped, and nobody else \
            notices.",
    keys: &[
        default("memory", SIZE.kind, "\"64MiB\"", "Memory of one call."),
        default(
            "cpu",
            DURATION.kind,
            "\"1s\"",
            "Computing at once; a tenth of the time it waits comes back.",
        ),
        default(
            "wall",
            DURATION.kind,
            "\"1m\"",
            "One call from begin to end, on top of what it is meant to take, such as the grace \
             time of a stop.",
        ),
        default("calls", COUNT.kind, "32", "Calls at a time; more wait for their turn."),
        default(
            "response",
            SIZE.kind,
            "\"16MiB\"",
            "One HTTP response; for a provider that watches its platform, a second of it.",
        ),
        default("log-lines", COUNT.kind, "20", "Lines logged in a second; the rest is counted."),
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
            "deeper",
            Kind::Table(&life::DEEPER),
            "one kind of sleep",
            "When and how its light sleep becomes a deeper one.",
        ),
        default("busy", Kind::Table(&life::BUSY), "{}", "What keeps it awake though nobody comes."),
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
            "awake",
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
            "limit",
            RATE.kind,
            "no limit",
            "So often visitors may wake it, all together, in any stretch of that time; then they \
             get 429 until there is room again.",
        ),
        optional(
            "client-limit",
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
            "patience",
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
    ],
};
