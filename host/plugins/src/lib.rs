//! Sandboxed provider plugins: WASM runtime, supervision, grants and endpoints.
//!
//! [`Plugins`] finds and loads plugins and makes providers of them. A provider call runs in an
//! instance of its own: made from a compiled component, configured, asked, and gone, within the
//! provider's [`Limits`](settings::Limits). An instance reaches what its provider was granted by
//! name and nothing else; whatever it does, nobody else notices.

#![deny(unsafe_code)]

mod bindings;
mod cache;
mod capabilities;
mod command;
mod convert;
mod directory;
mod endpoint;
mod fault;
mod files;
pub mod grants;
mod health;
mod info;
mod instance;
mod load;
mod meter;
mod network;
mod notes;
mod observed;
mod plugins;
mod provider;
mod rate;
mod reach;
mod runtime;
mod scope;
mod seat;
pub mod settings;
mod store;
mod supervisor;

pub use info::{CommandWish, EndpointWish, Load, PluginInfo};
pub use plugins::{Plugins, PluginsConfig, PluginsError};
pub use provider::WasmProvider;
pub use reach::{InvalidReach, Reach};
