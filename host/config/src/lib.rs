//! TOML to the typed settings of drowse, every error reported with its place.
//!
//! [`Config::load`] reads a file or a directory of `*.toml` files and answers with settings that
//! every other crate can use as they are, or with everything that is wrong. The keys and their
//! documentation are one table, from which [`reference()`] writes the page for people.

#![forbid(unsafe_code)]

mod auth;
mod config;
mod default_paths;
mod diagnostic;
mod duplicate_targets;
mod keys;
mod listener;
mod plugin_limits;
mod pool;
mod provider;
mod read;
mod ready;
mod reference;
mod route;
mod schema;
mod secrets;
mod signal;
mod sleep;
mod source;
mod tree;
mod trial;
mod units;
mod values;
mod waiting;
mod wake;
mod workload;

pub use config::{Config, Item, Paths};
pub use default_paths::DefaultPaths;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use reference::{doc, reference, trial_reference};
pub use schema::nearest;
pub use source::{Position, Quote};
pub use trial::TrialFile;
pub use units::duration;
