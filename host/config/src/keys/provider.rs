//! The keys of a provider: its plugin, its grants and its limits.

use crate::{
    schema::{Key, Kind, Table, default, optional, required},
    values::{
        ARGUMENTS, COUNT, DURATION, FINGERPRINTS, FLAG, HEADERS, JSON, PATH, PATHS, REACH, RESTART,
        RULES, SIZE, TEXT, VARIABLES, WORDS,
    },
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
            "network",
            Kind::Named(&NETWORK),
            "none",
            "Networks it may attach containers to, by the name the plugin calls them by.",
        ),
        optional(
            "allow-addresses",
            REACH.kind,
            "near places",
            "Where its targets may be: networks, addresses, addresses with a port, and names of hosts \
             (`.lan` for all that end so). Without it: this machine, private networks, and the names \
             in the settings. An endpoint of a provider is a target only where its address and port \
             are named; a link-local address only where it is named; addresses of this machine only \
             where loopback or they themselves are. Metadata services of clouds and the router's own \
             listeners never are.",
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
             everything is below one. `udp://host:port`, also of a broadcast address, for plugins \
             that send datagrams.",
        ),
        CA,
        PIN,
        CERT,
        KEY,
        SENT,
        optional(
            "rules",
            RULES.kind,
            "what the plugin asks for",
            "For `http`, `https` and `unix`. Allowed requests: `METHOD /path`, or `METHOD+body /path` for those that carry a body. \
             `*` is any method or one path segment, a final `**` any rest. `METHOD /path?all=1&limit=*` allows these keys \
             of a query with these values, `?*` any query; without `?` there may be none: see \
             [permissions](permissions.md#rules). For gRPC: `/package.Service/Method` or `/package.Service/*`.",
        ),
        optional(
            "token",
            Kind::Table(&TOKEN),
            "none",
            "Where bearer tokens come from, if the place asks for such, as registries of images do.",
        ),
        TIMEOUT,
    ],
};

/// `provider.NAME.endpoint.NAME.token`
pub(crate) static TOKEN: Table = Table {
    title: "[provider.NAME.endpoint.NAME.token]",
    about: "A place that gives out bearer tokens for the endpoint. When the endpoint answers 401 and \
            names this url as the realm, the router asks here for a token, keeps it while it holds, \
            and sends it along. The plugin sees nothing of it.",
    keys: &[
        required(
            "url",
            TEXT.kind,
            "As the endpoint names it: `https://auth.docker.io/token` for Docker Hub, \
             `https://ghcr.io/token` for GitHub's registry.",
        ),
        CA,
        PIN,
        CERT,
        KEY,
        SENT,
        TIMEOUT,
    ],
};

// What every place has that the router calls.
const CA: Key = optional(
    "ca",
    PATH.kind,
    "the system's authorities",
    "PEM file of the only certificate authorities that are trusted. For `https`.",
);

const PIN: Key = optional(
    "fingerprint",
    FINGERPRINTS.kind,
    "none",
    "SHA-256 digest of the only certificate that is accepted, whatever it says; or a list of \
     them, for a certificate that is about to be renewed, or for several nodes. For `https`.",
);

const CERT: Key = optional(
    "cert",
    PATH.kind,
    "none",
    "PEM file with the certificate that the router shows, and those between it and an \
     authority that the place knows. For `https`; with `key`.",
);

const KEY: Key = optional(
    "key",
    PATH.kind,
    "none",
    "PEM file with the private key of `cert`, without a password. Never shown.",
);

const SENT: Key = default(
    "headers",
    HEADERS.kind,
    "{}",
    "For `http`, `https` and `unix`. Headers that the router adds: a text, `{ env = \"NAME\", prefix = \"Bearer \" }` or \
     `{ file = \"path\", prefix = \"…\" }`. Never shown.",
);

const TIMEOUT: Key = default(
    "timeout",
    DURATION.kind,
    "\"30s\"",
    "Until a response begins or a gRPC call is answered, when the plugin names no shorter \
     time; for datagrams, until the host's name is looked up.",
);

/// `provider.NAME.command.NAME`
pub(crate) static COMMAND: Table = Table {
    title: "[provider.NAME.command.NAME]",
    about: "A program that the provider may run. It inherits nothing from the router but `PATH`, \
            and it is ended with the router: as the workload of its name is stopped, else by \
            SIGTERM and after ten seconds by SIGKILL. A router that is killed leaves it running, \
            and the next one finds it again.",
    keys: &[
        required("run", ARGUMENTS.kind, "Program and arguments. There is no shell."),
        default("environment", VARIABLES.kind, "{}", "Its environment. Never shown."),
        optional("directory", PATH.kind, "the router's", "The directory it starts in."),
        default(
            "allow-extra-arguments",
            FLAG.kind,
            "false",
            "The plugin may append arguments of its own.",
        ),
        default(
            "allow-extra-environment",
            WORDS.kind,
            "[]",
            "Names of variables that the plugin may add.",
        ),
        default(
            "restart",
            RESTART.kind,
            "\"never\"",
            "Whether it is started again when it ends while nobody has told it to: `never` leaves \
             that to the next visitor, `on-failure` does it unless its exit status is 0, `always` \
             in any case. The first restart comes after 100 ms, each that follows after twice as \
             long, up to 30 s.",
        ),
        default(
            "restart-limit",
            COUNT.kind,
            "10",
            "So many restarts in a row; then it is left to the next visitor. Having run for a \
             minute ends the row.",
        ),
        default("limits", Kind::Table(&COMMAND_LIMITS), "{}", "What it may use up."),
    ],
};

/// `provider.NAME.command.NAME.limits`
pub(crate) static COMMAND_LIMITS: Table = Table {
    title: "[provider.NAME.command.NAME.limits]",
    about: "What a granted program may use up. All but `cgroup` hold for each of its processes by \
            itself. A limit that cannot be set keeps the program from being started.",
    keys: &[
        optional(
            "memory",
            SIZE.kind,
            "the router's",
            "Memory that a process may write to (`RLIMIT_DATA`); it is refused more.",
        ),
        optional(
            "cpu-time",
            DURATION.kind,
            "the router's",
            "Computing time of a process from begin to end, in whole seconds (`RLIMIT_CPU`); then \
             the kernel ends it. A share of the CPU is a matter for `cgroup`.",
        ),
        optional(
            "open-files",
            COUNT.kind,
            "the soft limit that the router was started with",
            "Open files of a process (`RLIMIT_NOFILE`).",
        ),
        optional(
            "processes",
            COUNT.kind,
            "the router's",
            "Processes and threads of the router's user, all together (`RLIMIT_NPROC`). The kernel \
             does not hold root to it, so for root this is refused.",
        ),
        optional(
            "cgroup",
            PATH.kind,
            "the router's",
            "Directory of a cgroup, of either version, into which the program is put: its limits \
             hold for all of its processes together. It must exist, and the router must be allowed \
             to write to its `cgroup.procs`.",
        ),
    ],
};

/// `provider.NAME.network.NAME`
pub(crate) static NETWORK: Table = Table {
    title: "[provider.NAME.network.NAME]",
    about: "A network that the provider may attach containers to. The router runs the CNI plugins of \
            the configuration as its own user, which has to be root for most of them.",
    keys: &[
        required(
            "config",
            PATH.kind,
            "The CNI configuration: a `.conflist`, or a `.conf` with one plugin.",
        ),
        default(
            "plugin-dirs",
            PATHS.kind,
            "[\"/opt/cni/bin\", \"/usr/lib/cni\"]",
            "Directories with the CNI plugins; the first that has one counts.",
        ),
        default(
            "results-dir",
            PATH.kind,
            "\"/var/lib/cni/drowse\"",
            "Directory where the plugins' answers are kept until the container is detached. It must \
             outlive the router.",
        ),
        default("timeout", DURATION.kind, "\"30s\"", "The time that one CNI plugin may take."),
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
            "cpu-time",
            DURATION.kind,
            "\"1s\"",
            "Computing at once in one call; a tenth of the time it waits comes back. All calls \
             together have ten times as much, and a tenth of the time that passes comes back; when \
             it is used up, calls wait.",
        ),
        default(
            "wall-time",
            DURATION.kind,
            "\"2m\"",
            "One call from begin to end, on top of what it is meant to take, such as the grace \
             time of a stop.",
        ),
        default("max-calls", COUNT.kind, "32", "Calls at a time; more wait for their turn."),
        default(
            "max-response-size",
            SIZE.kind,
            "\"16MiB\"",
            "One HTTP response or the answer to one gRPC call; for a provider that watches its \
             platform, a second of it.",
        ),
        default(
            "log-lines-per-second",
            COUNT.kind,
            "20",
            "Lines logged in a second; the rest is counted.",
        ),
    ],
};
