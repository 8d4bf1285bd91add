//! Provider plugins: WASM and dynamic libraries, supervision, grants and endpoints.
//!
//! [`Plugins`] finds and loads plugins and makes providers of them. A provider call runs in an
//! instance of its own: made from a compiled component, configured, asked, and gone, within the
//! provider's [`Limits`](settings::Limits). An instance reaches what its provider was granted by
//! name and nothing else; whatever it does, nobody else notices.
//!
//! Where the operator allows it a plugin may be a dynamic library, too: then the same holds for
//! what it asks of the host, and nothing holds for what it does without asking.

#![deny(unsafe_code)]

mod bindings;
mod cache;
mod capabilities;
mod command;
mod compile;
mod convert;
mod directory;
#[allow(unsafe_code, reason = "the border of dynamic libraries is C")]
mod dylib;
mod endpoint;
mod fault;
pub mod files;
mod function;
pub mod grants;
mod guest_memory;
mod health;
mod info;
mod instance;
mod load;
mod machine;
mod meter;
mod network;
mod notes;
mod observed;
mod plugins;
mod provider;
mod rate;
mod reach;
mod runtime;
mod said;
mod scope;
mod seat;
pub mod settings;
mod store;
mod supervisor;
mod vouch;
mod wire;

pub use command::launched;
pub use compile::compile_process;
pub use dylib::Linked;
pub use info::{CommandWish, EndpointWish, Kind, Load, NetworkWish, PluginInfo};
pub use plugins::{Plugins, PluginsConfig, PluginsError};
pub use provider::PluginProvider;
pub use reach::{InvalidReach, Reach};
pub use vouch::{Listed, Lock, LockPlace, Locked, Said, Signer, Verdict, Verification, Vouchers};
