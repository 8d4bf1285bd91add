//! The keys that say who may come in and who may wake.

use crate::{
    schema::{Key, Kind, Table, default, optional, required},
    values::{
        AGENT_GLOB, AGENT_GLOBS, BOTS, DURATION, FLAG, HEADER, HEADER_NAMES, METHODS, NETWORKS,
        PATH, PATH_GLOB, PATH_GLOBS, STATUS, TEXT,
    },
};

/// `[auth.NAME]`
pub(crate) static AUTH: Table = Table {
    title: "[auth.NAME]",
    about: "One way to authenticate, for the workloads and routes that name it: exactly one of \
            `users-file` and `forward`. It applies to every request, whether the workload is awake or \
            not, and before anything is woken. See [who may wake](who-may-wake.md).",
    keys: &[
        optional(
            "users-file",
            PATH.kind,
            "no such check",
            "File of users with the hashes of their passwords, as `htpasswd -B` writes it. Read \
             again when it changes.",
        ),
        optional(
            "realm",
            TEXT.kind,
            "its name",
            "What browsers show when they ask for the password. For `users-file`.",
        ),
        optional(
            "user-header",
            HEADER.kind,
            "none",
            "Header that tells the workload the user's name, such as `Remote-User`. A client's \
             own is taken away. For `users-file`.",
        ),
        optional(
            "forward",
            TEXT.kind,
            "no such check",
            "Address of a service that is asked about every request, such as \
             `http://authelia:9091/api/authz/forward-auth`. It sees the request's headers with \
             `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`. An answer of 2xx lets \
             the request pass, every other answer is the client's.",
        ),
        optional(
            "copy-headers",
            HEADER_NAMES.kind,
            "none",
            "Headers of the service's answer that are copied to the workload's request, such as \
             `[\"Remote-User\", \"Remote-Groups\"]`. A client's own are taken away. For \
             `forward`.",
        ),
        optional(
            "timeout",
            DURATION.kind,
            "`5s`",
            "The service must have answered after this long; then the client gets 504. For \
             `forward`.",
        ),
    ],
};

/// `listener.proxy-protocol`
pub(crate) static PROXY_PROTOCOL: Table = Table {
    title: "[listener.proxy-protocol]",
    about: "Proxies in front that tell by the PROXY protocol (version 1 or 2) who is connected to \
            them.",
    keys: &[required(
        "from",
        NETWORKS.kind,
        "Their networks. From there every connection must begin with the protocol's header, from \
         elsewhere none may.",
    )],
};

/// `workload.NAME.wake.probes`
pub(crate) static PROBE: Table = Table {
    title: "[[workload.NAME.wake.probes]]",
    about: "Requests that only look whether somebody is there: at least one of `path` and \
            `user-agent`. While the workload sleeps they are answered for it and do not wake it; while \
            it is awake they reach it.",
    keys: &[
        optional("path", PATH_GLOB.kind, "every path", "A path, or `/health/*`."),
        optional(
            "user-agent",
            AGENT_GLOB.kind,
            "every user agent",
            "User agent, with `*` for any characters. Case makes no difference.",
        ),
        default("status", STATUS.kind, "200", "What is answered while it sleeps."),
        default(
            "counts-as-visit",
            FLAG.kind,
            "false",
            "One that reaches the workload keeps it awake, as a visit does.",
        ),
    ],
};

/// `route.wake`
pub(crate) static ROUTE_WAKE: Table = Table {
    title: "[route.wake]",
    about: "Who may wake the workload by this route. A key that stands here replaces that of \
            `[workload.NAME.wake]`.",
    keys: &[
        paths(WORKLOADS),
        methods(WORKLOADS),
        from(WORKLOADS),
        not_from(WORKLOADS),
        agents(WORKLOADS),
        not_agents(WORKLOADS),
        probes(WORKLOADS),
        bots(WORKLOADS),
    ],
};

const WORKLOADS: &str = "the workload's";

/// Only these paths wake.
pub(crate) const fn paths(otherwise: &'static str) -> Key {
    optional(
        "paths",
        PATH_GLOBS.kind,
        otherwise,
        "Only these paths wake: `/login` is that path alone, `/app/*` everything below `/app/`.",
    )
}

/// Only these methods wake.
pub(crate) const fn methods(otherwise: &'static str) -> Key {
    optional("methods", METHODS.kind, otherwise, "Only these methods wake.")
}

/// Only clients from here wake.
pub(crate) const fn from(otherwise: &'static str) -> Key {
    optional(
        "from",
        NETWORKS.kind,
        otherwise,
        "Only clients in these networks wake. Behind proxies that the listener trusts it is the \
         real client that counts.",
    )
}

/// Clients from here do not wake.
pub(crate) const fn not_from(otherwise: &'static str) -> Key {
    optional(
        "not-from",
        NETWORKS.kind,
        otherwise,
        "Clients in these networks do not wake, whatever `from` says.",
    )
}

/// Only these user agents wake.
pub(crate) const fn agents(otherwise: &'static str) -> Key {
    optional(
        "user-agents",
        AGENT_GLOBS.kind,
        otherwise,
        "Only these user agents wake, with `*` for any characters. Case makes no difference.",
    )
}

/// These user agents do not wake.
pub(crate) const fn not_agents(otherwise: &'static str) -> Key {
    optional(
        "not-user-agents",
        AGENT_GLOBS.kind,
        otherwise,
        "These user agents do not wake, whatever `user-agents` says.",
    )
}

/// What is answered in place of a sleeping workload.
pub(crate) const fn probes(otherwise: &'static str) -> Key {
    optional(
        "probes",
        Kind::Tables(&PROBE),
        otherwise,
        "Requests that are answered for a sleeping workload.",
    )
}

/// What bots do.
pub(crate) const fn bots(otherwise: &'static str) -> Key {
    optional(
        "bots",
        BOTS.kind,
        otherwise,
        "What crawlers, link previews and uptime monitors that say what they are do: `wake`, or \
         `ignore`: they are told to come back later and keep nothing awake.",
    )
}
