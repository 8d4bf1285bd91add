//! Write a drowse provider: one trait, typed settings, granted endpoints, a test harness.
//!
//! A provider controls one platform: it starts, stops and observes targets. It can only talk to the
//! [endpoints](endpoint), also by [gRPC](grpc), send them [datagrams](udp), run the
//! [commands](command) and attach to the [networks](network) that the operator granted it by name.
//! Implement [`Provider`], call [`export!`] and build for `wasm32-unknown-unknown`:
//!
//! ```
//! use drowse_provider_sdk::{
//!     Description, Endpoint, EndpointWish, Error, NoSettings, Observation, Provider, Result,
//!     Status, StopOptions, Target, encode,
//! };
//!
//! struct Lamps;
//!
//! impl Provider for Lamps {
//!     type Settings = NoSettings;
//!     type TargetSettings = NoSettings;
//!
//!     fn describe() -> Description {
//!         Description::new("lamps", env!("CARGO_PKG_VERSION"), "lamps that sleep").endpoint(
//!             EndpointWish::new("hub", "switches the lamps")
//!                 .rules(["GET /lamps/*", "PUT+body /lamps/*"]),
//!         )
//!     }
//!
//!     fn configure(_: NoSettings) -> Result<Self> {
//!         Ok(Self)
//!     }
//!
//!     fn start(&self, target: &Target<NoSettings>) -> Result<Observation> {
//!         let path = format!("/lamps/{}", encode(&target.handle));
//!         let answer = Endpoint::new("hub").put(&path).body("on").send()?;
//!         match answer.status() {
//!             200 => Ok(Observation::new(&target.handle, Status::Running, "on")),
//!             404 => Err(Error::not_found(format!("switch on lamp {:?}: no such lamp", target.handle))),
//!             status => Err(Error::http(status, format!("switch on lamp {:?}: {status}", target.handle))),
//!         }
//!     }
//!
//!     fn stop(&self, target: &Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
//!         Endpoint::new("hub").put(&format!("/lamps/{}", encode(&target.handle))).body("off").send()?;
//!         Ok(Observation::new(&target.handle, Status::Stopped, "off"))
//!     }
//!
//!     fn status(&self, target: &Target<NoSettings>) -> Result<Observation> {
//!         let path = format!("/lamps/{}", encode(&target.handle));
//!         match Endpoint::new("hub").get(&path).send()?.text()?.as_str() {
//!             "on" => Ok(Observation::new(&target.handle, Status::Running, "on")),
//!             word => Ok(Observation::new(&target.handle, Status::Stopped, word)),
//!         }
//!     }
//! }
//!
//! drowse_provider_sdk::export!(Lamps);
//!
//! # fn main() {
//! use drowse_provider_sdk::testing::{Harness, Reply};
//!
//! let test = Harness::<Lamps>::new();
//! test.expect("hub", "PUT /lamps/desk", Reply::status(200));
//! assert_eq!(test.start("desk").unwrap().status, Status::Running);
//! # }
//! ```
//!
//! # Calls
//!
//! Each call runs in an instance of its own: [`Provider::configure`] with the settings, then the
//! call, then the instance is dropped. Only the [`memo`] and processes outlive it. The host may
//! cancel a call at any wait, so every request must be safe to repeat.
//!
//! # As a dynamic library
//!
//! `cargo build --release --features drowse-provider-sdk/dylib` builds the same source as a dynamic
//! library for routers with `allow-dylib = true`. It is trusted code: it is not sandboxed, and its
//! computation cannot be interrupted. A call that the router cancels unwinds at its next call to
//! the [`host`].
//!
//! # Outside WebAssembly
//!
//! The same source compiles natively. The imports of a component are then the functions of a
//! [`host::Host`] installed for the thread, such as the [`testing::Harness`].

#![deny(unsafe_code)]

// Generated: the only unsafe code, all of it for the canonical ABI.
#[allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, clippy::pedantic)]
pub mod bindings;

pub mod clock;
pub mod command;
pub mod description;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[allow(unsafe_code, reason = "the ABI of a dynamic library is C")]
pub mod dylib;
pub mod endpoint;
pub mod error;
pub mod events;
#[doc(hidden)]
pub mod glue;
pub mod grpc;
pub mod host;
pub mod image;
pub mod log;
pub mod memo;
pub mod network;
pub mod poll;
pub mod provider;
pub mod settings;
pub mod signal;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod udp;
mod wire;
pub mod words;

pub use description::{Ability, Description};
pub use endpoint::{Endpoint, Response, encode};
pub use error::{Error, ErrorCode, Result};
pub use image::ImageName;
pub use provider::{Provider, Target};
pub use settings::{NoSettings, Span};
pub use words::{
    Address, Attribute, CommandWish, EndpointWish, Event, Exit, Health, NetworkWish, Observation,
    Page, RecreateOptions, RemoveOptions, Status, StopOptions, Usage,
};

/// Exports a type that implements [`Provider`] as the plugin of this crate. Once per crate.
///
/// For WebAssembly it exports the component. Natively it exports the table of a dynamic library
/// with this crate's feature `dylib`, and otherwise does nothing: a test may link several
/// providers.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Plugin = $crate::glue::Glue<$provider>;
    $crate::bindings::export_component!(Plugin with_types_in $crate::bindings);
        };
        $crate::export_table!($provider);
    };
}

/// The native half of [`export!`].
#[doc(hidden)]
#[macro_export]
#[cfg(all(feature = "dylib", not(target_family = "wasm")))]
macro_rules! export_table {
    ($provider:ty) => {
        const _: () = {
            /// Symbol that the router looks up in a dynamic library.
            #[unsafe(no_mangle)]
            extern "C" fn drowse_provider_table() -> *const $crate::dylib::Table {
                $crate::dylib::table::<$provider>()
            }
        };
    };
}

/// The native half of [`export!`].
#[doc(hidden)]
#[macro_export]
#[cfg(not(all(feature = "dylib", not(target_family = "wasm"))))]
macro_rules! export_table {
    ($provider:ty) => {};
}
