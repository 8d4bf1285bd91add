//! Reads TOML into the typed settings of drowse. Every error is reported with its place.
//!
//! [`Config::load`] reads a file or a directory of `*.toml` files and returns settings that every other
//! crate can use as they are, or all errors in them. Each table is declared once, by `table!`: the doc
//! comment, parser and default of a key stand together, and [`reference()`] writes the page of all keys
//! from the same declarations.

#![forbid(unsafe_code)]

mod auth;
mod config;
mod default_paths;
mod diagnostic;
mod duplicate_targets;
mod listener;
mod plugin_limits;
mod pool;
mod provider;
mod read;
mod ready;
mod reference;
mod root;
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
