//! Log events: [`error!`](crate::error!), [`warn!`](crate::warn!), [`info!`](crate::info!),
//! [`debug!`](crate::debug!) and [`trace!`](crate::trace!).
//!
//! Fields come first, as `name = value`, and a semicolon precedes the message:
//!
//! ```
//! # use drowse_provider_sdk::{info, testing::{Harness, Silent}};
//! # Harness::<Silent>::new().run(|| {
//! # let (name, tries) = ("web", 3);
//! info!("no fields, {tries} tries");
//! info!(container = name, tries = tries; "the container is back");
//! # });
//! ```
//!
//! The host adds provider and operation and limits the rate.

pub use crate::bindings::drowse::provider::log::Level;
use crate::{host, words::Attribute};

/// Logs one event. The host cuts messages at 4 KiB.
pub fn write(level: Level, message: &str, fields: &[Attribute]) {
    host::write_log(level, message, fields);
}

/// Logs one event at a computed level. See [`log`](crate::log).
#[macro_export]
macro_rules! log_event {
    ($level:expr, $($name:ident = $value:expr),+ ; $($message:tt)+) => {
        $crate::log::write(
            $level,
            &::std::format!($($message)+),
            &[$($crate::Attribute::new(
                ::std::stringify!($name),
                ::std::string::ToString::to_string(&$value),
            )),+],
        )
    };
    ($level:expr, $($message:tt)+) => {
        $crate::log::write($level, &::std::format!($($message)+), &[])
    };
}

/// An error that the operator has to fix. See [`log`](crate::log).
#[macro_export]
macro_rules! error {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Error, $($event)+) };
}

/// A problem that does not stop the operation. See [`log`](crate::log).
#[macro_export]
macro_rules! warn {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Warn, $($event)+) };
}

/// An event of interest to the operator. Visitors that wait for the call see the last one: report
/// the progress of a long operation every few seconds. See [`log`](crate::log).
#[macro_export]
macro_rules! info {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Info, $($event)+) };
}

/// A detail for debugging an installation. See [`log`](crate::log).
#[macro_export]
macro_rules! debug {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Debug, $($event)+) };
}

/// A detail for debugging the provider. See [`log`](crate::log).
#[macro_export]
macro_rules! trace {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Trace, $($event)+) };
}
