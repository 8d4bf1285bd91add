//! Lines for the operator: [`error!`](crate::error!), [`warn!`](crate::warn!),
//! [`info!`](crate::info!), [`debug!`](crate::debug!) and [`trace!`](crate::trace!).
//!
//! Fields come first, `name = value`, and a semicolon before the message:
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

/// One event. Messages are cut at 4 KiB by the host.
pub fn write(level: Level, message: &str, fields: &[Attribute]) {
    host::write_log(level, message, fields);
}

/// One event at a level that is computed. See [`log`](crate::log).
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

/// Something is broken and the operator has to act. See [`log`](crate::log).
#[macro_export]
macro_rules! error {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Error, $($event)+) };
}

/// Something is odd and goes on. See [`log`](crate::log).
#[macro_export]
macro_rules! warn {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Warn, $($event)+) };
}

/// Something happened that an operator may want to know. Whoever waits for the call is told the last
/// one: while something takes long, say every few seconds how far it is. See [`log`](crate::log).
#[macro_export]
macro_rules! info {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Info, $($event)+) };
}

/// A detail for whoever looks for a mistake. See [`log`](crate::log).
#[macro_export]
macro_rules! debug {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Debug, $($event)+) };
}

/// A detail for whoever writes the provider. See [`log`](crate::log).
#[macro_export]
macro_rules! trace {
    ($($event:tt)+) => { $crate::log_event!($crate::log::Level::Trace, $($event)+) };
}
