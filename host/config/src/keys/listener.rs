//! The keys of a listener: where visitors come in.

use crate::{
    schema::{Kind, Table, default, optional, required},
    values::{ADDRESS, COUNT, DURATION, IDLE, NETWORKS, PROTOCOL, SIZE, TEXT},
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
            "trusted-proxies",
            NETWORKS.kind,
            "[]",
            "Proxies in front of this one. Their `X-Forwarded-*` headers are believed and \
             extended; everybody else's are replaced.",
        ),
        optional(
            "proxy-protocol",
            Kind::Table(&super::who::PROXY_PROTOCOL),
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
            "max-connections",
            COUNT.kind,
            "20000",
            "Client connections at a time; more wait in the kernel. Lowered at the start to what the limit \
             of open files allows.",
        ),
        default(
            "head-timeout",
            DURATION.kind,
            "\"15s\"",
            "From a request's first byte, or from a connection's begin, until the request's head \
             is complete.",
        ),
        default("max-head-size", SIZE.kind, "\"64KiB\"", "Bytes of a request's head."),
        default(
            "keep-alive-timeout",
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
            "tunnel-idle-timeout",
            IDLE.kind,
            "\"never\"",
            "A WebSocket or other tunnel through which nothing passes for this long is closed, at \
             the latest after twice as long.",
        ),
        default(
            "max-held",
            COUNT.kind,
            "16384",
            "Visitors held at a time; one more is refused with 503. See `max-held` of `[waiting]`, \
             too.",
        ),
    ],
};
