//! Rust bindings generated from the contract (`wit/v0.1`). Blocking imports are async in the host
//! and synchronous in the guest: a waiting guest is suspended, and dropped together with its call.

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
        "drowse:provider/grpc.messages": crate::resources::MessageStream,
        "drowse:provider/http.response": crate::resources::IncomingResponse,
    },
});

pub(crate) use drowse::provider::{
    clock, command, events, grpc, http, log, memo, network, types, udp,
};
pub(crate) use exports::drowse::provider::provider::Guest;
