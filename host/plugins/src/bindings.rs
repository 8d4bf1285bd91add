//! The contract (`wit/v0.1`) in Rust, generated. What waits is asynchronous in the host and plain in
//! the guest: a guest that waits is suspended, and dropped when its call is.

#![allow(missing_docs, unreachable_pub)]

wasmtime::component::bindgen!({
    path: "../../wit/v0.1",
    world: "plugin",
    imports: {
        "drowse:provider/log": trappable,
        "drowse:provider/memo": trappable,
        "drowse:provider/clock.now": trappable,
        "drowse:provider/clock.monotonic": trappable,
        "drowse:provider/command.granted": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    additional_derives: [serde::Serialize, serde::Deserialize],
    with: {
        "drowse:provider/grpc.messages": crate::capabilities::grpc::Stream,
        "drowse:provider/http.response": crate::capabilities::http::Incoming,
    },
});

pub(crate) use drowse::provider::{
    clock, command, events, grpc, http, log, memo, network, types, udp,
};
pub(crate) use exports::drowse::provider::provider::Guest;
