//! A provider that misbehaves on purpose, for tests of the sandbox.
//!
//! Built for wasm32-unknown-unknown; natively it is empty. The target's handle selects the behaviour,
//! see [`plugin`], and the setting `watch` that of `watch` (`good`, `trap`, `flood`, `resync`,
//! `error`). The setting `inside` selects a forbidden call in `configure`. Settings with a key
//! `refuse` are refused.

#![cfg(target_family = "wasm")]

#[allow(missing_docs, unreachable_pub)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/v0.1", world: "plugin", generate_all });
}

mod plugin;

bindings::export!(Hostile with_types_in bindings);

pub(crate) struct Hostile;
