//! Events to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::{cli::LogFormat, error::Error};

/// Why this cannot be a filter.
pub(crate) fn flaw(filter: &str) -> Option<String> {
    EnvFilter::try_new(filter).err().map(|error| {
        format!(
            "\"{}\" is not a filter for the log: {error}; write `info`, `debug` or \
             `info,drowse_proxy=debug`",
            filter.escape_debug()
        )
    })
}

/// Begins to log.
pub(crate) fn begin(filter: &str, format: LogFormat) -> Result<(), Error> {
    let filter = match flaw(filter) {
        Some(flaw) => return Err(Error::new(flaw)),
        None => EnvFilter::new(filter),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = match format {
        LogFormat::Human => {
            let colour = io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    begun.map_err(|error| Error::new(format!("cannot begin to log: {error}")))
}
