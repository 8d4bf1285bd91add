//! The log, written to standard error.

mod lines;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use drowse_config::nearest;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use self::lines::{Format, Lines};
use crate::{cli::LogFormat, error::Error};

#[cfg(test)]
mod tests;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Crates of the router, the targets of its events.
const PARTS: [&str; 8] = [
    "drowse",
    "drowse_admin",
    "drowse_config",
    "drowse_conformance",
    "drowse_core",
    "drowse_plugins",
    "drowse_proxy",
    "drowse_routes",
];

/// Other crates whose events can be logged.
const OTHERS: [&str; 3] = ["axum", "hyper_util", "wasmtime_wasi"];

/// Why this is not a valid filter.
pub(crate) fn flaw(filter: &str) -> Option<String> {
    read(filter).err()
}

/// Parses a filter. The library takes an unknown word for a target and then logs that target alone, so a
/// misspelled level would silence the router.
fn read(filter: &str) -> Result<EnvFilter, String> {
    let wrong = |why: &str, near: Option<&str>| {
        let filter = filter.escape_debug();
        let advice = near.map_or_else(
            || "write `info`, `debug` or `info,drowse_proxy=debug`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        format!("\"{filter}\" is not a log filter: {why}; {advice}")
    };
    let directives: Vec<&str> = filter.split(',').map(str::trim).collect();
    for directive in &directives {
        let end = directive.find(['=', '[']).unwrap_or(directive.len());
        let (target, rest) = directive.split_at(end);
        let part = target.split("::").next().unwrap_or(target);
        let known = || PARTS.into_iter().chain(OTHERS);
        let is_level = rest.is_empty() && target.parse::<LevelFilter>().is_ok();
        if target.is_empty() || is_level || known().any(|held| held == part) {
            continue;
        }
        let (kind, near) = if rest.is_empty() {
            (
                "neither a level nor a part of the router",
                nearest(part, LEVELS.into_iter().chain(known())),
            )
        } else {
            ("no part of the router", nearest(part, known()))
        };
        return Err(wrong(&format!("`{}` is {kind}", part.escape_debug()), near));
    }
    EnvFilter::try_new(directives.join(",")).map_err(|error| wrong(&error.to_string(), None))
}

/// Starts logging.
pub(crate) fn begin(filter: &str, format: LogFormat) -> Result<(), Error> {
    let filter = read(filter).map_err(Error::new)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let writer = |format| {
        Lines::begin(format)
            .map_err(|error| Error::new(format!("cannot start a thread for the log: {error}")))
    };
    let begun = match format {
        LogFormat::Human => {
            let colour = io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let writer = writer(if colour { Format::Coloured } else { Format::Plain })?;
            builder.with_ansi(colour).with_target(false).with_writer(writer).try_init()
        }
        LogFormat::Json => {
            let builder = builder.with_writer(writer(Format::Json)?);
            builder.json().flatten_event(true).with_current_span(false).try_init()
        }
    };
    begun.map_err(|error| Error::new(format!("cannot start logging: {error}")))
}

/// Waits until every event is written, or until `timeout` is over.
pub(crate) fn flush(timeout: Duration) {
    lines::flush(timeout);
}
