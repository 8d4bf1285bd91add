//! Every key of the configuration, documented where it is defined.

use crate::{
    forms::{
        ADDRESS, ARGUMENTS, COUNT, DURATION, FINGERPRINT, FLAG, HEADERS, IDLE, JSON, NETWORKS,
        PATH, PORT, PROTOCOL, RULES, SIZE, SLEEP_METHOD, STATUSES, TEXT, VARIABLES, WAITING, WORDS,
    },
    schema::{Kind, Table, default, optional, required},
};

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
        optional("route", Kind::Tables(&ROUTE), "none", "Which visitor wants which workload."),
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
            "From a request's last byte until the workload's response begins; then the client \
             gets 504.",
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
            "Allowed requests: `METHOD /path`. `*` is any method or one path segment, a final \
             `**` any rest.",
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
        default("cpu", DURATION.kind, "\"1s\"", "Computing in one call without waiting."),
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
        default("sleep", Kind::Table(&SLEEP), "{}", "How it is put to sleep."),
        optional(
            "ready",
            Kind::Table(&READY),
            "`{ http = \"/\" }` when a route leads to it, else `{ started = true }`",
            "When it is truly ready, so that visitors are let in.",
        ),
        default("wake", Kind::Table(&WAKE), "{}", "How it is woken."),
    ],
};

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
        optional(
            "signal",
            TEXT.kind,
            "what the platform uses",
            "The signal to stop or kill with, such as `SIGTERM`.",
        ),
        default("grace", DURATION.kind, "\"10s\"", "The time it has to stop by itself."),
    ],
};

/// `workload.NAME.ready`
pub(crate) static READY: Table = Table {
    title: "[workload.NAME.ready]",
    about: "When a workload is truly ready: exactly one of `http`, `tcp` and `started`. A web \
            server often accepts connections long before it answers, so `tcp` is not enough for \
            one.",
    keys: &[
        optional("http", TEXT.kind, "no such check", "Path of a request that must be answered."),
        optional("tcp", FLAG.kind, "no such check", "A connection must be accepted."),
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
            "The workload's own port to look at. For `http` and `tcp`.",
        ),
        optional("method", TEXT.kind, "`GET`", "Method of the request. For `http`."),
        optional(
            "status",
            STATUSES.kind,
            "any but 502, 503 and 504",
            "Statuses that count as ready. For `http`.",
        ),
        optional("host", TEXT.kind, "its address", "`Host` header of the request. For `http`."),
    ],
};

/// `workload.NAME.wake`
pub(crate) static WAKE: Table = Table {
    title: "[workload.NAME.wake]",
    about: "How a workload is woken.",
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
             `/apple`.",
        ),
        required("workload", TEXT.kind, "The workload that answers."),
        required("port", PORT.kind, "The workload's own port."),
        default(
            "waiting",
            WAITING.kind,
            "\"auto\"",
            "What a visitor gets while the workload wakes: `page` is a page that reloads itself, \
             `hold` keeps the request until it can be answered, `reject` is 503 with \
             Retry-After, `auto` is the page for a browser's navigation and `hold` for all else.",
        ),
        default(
            "patience",
            DURATION.kind,
            "\"1m\"",
            "A held visitor is turned away after this long.",
        ),
    ],
};
