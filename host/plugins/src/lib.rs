//! Provider plugins: WASM and dynamic libraries, supervision, grants and endpoints.
//!
//! [`Plugins`] finds and loads plugins and builds providers from them. Each provider call runs in a
//! fresh instance: instantiated from the compiled component, configured, called and dropped, within
//! the provider's [`Limits`](settings::Limits). An instance reaches only what its provider was
//! granted by name; a fault in one instance affects no other.
//!
//! If the operator allows it, a plugin may also be a dynamic library. The host applies the same
//! grants to its requests; code that bypasses the host is unrestricted.

#![deny(unsafe_code)]

mod address_policy;
mod bindings;
mod cache;
mod capabilities;
mod command;
mod compile;
mod compose;
mod context;
mod convert;
mod cpu_quota;
mod directory;
#[allow(unsafe_code, reason = "the ABI of dynamic libraries is C")]
mod dylib;
mod endpoint;
mod fault;
pub mod files;
mod function;
pub mod grants;
mod guest_memory;
mod health;
mod host;
mod info;
mod invocation;
mod load;
mod log_limiter;
mod machine;
mod memo;
mod network;
mod plugin;
mod plugins;
mod progress;
mod provider;
mod provider_instance;
#[allow(unreachable_pub, reason = "generated code re-exports its types")]
pub(crate) mod resources;
mod runtime;
pub mod settings;
mod source;
mod store;
mod supervisor;
mod text;
mod time;
mod token_bucket;
mod trust;
mod validate;
mod wire;

pub use address_policy::rule::{AddressRule, InvalidAddressRule};
pub use command::launcher::launched;
pub use compile::process::compile_process;
pub use dylib::library::LinkedPlugin;
pub use info::{CommandWish, EndpointWish, Load, NetworkWish, PluginInfo, PluginKind};
pub use plugins::{Plugins, PluginsConfig, PluginsError};
pub use provider::PluginProvider;
pub use trust::{
    ListedPlugin, Lock, LockFile, LockedPlugin, Signer, TrustPolicy, Verdict, Verification,
    VerificationResult,
};
