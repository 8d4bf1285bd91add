//! Log lines from plugins.

use std::fmt::Write as _;

use crate::{
    bindings::{log, types},
    store::HostState,
    text::sanitize,
};

/// Maximum bytes of a message.
const MESSAGE_BYTES: usize = 4 << 10;
/// Maximum fields of a line.
const FIELDS: usize = 32;
/// Maximum bytes of a field's name or value.
const FIELD_BYTES: usize = 256;

impl log::Host for HostState {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<types::Attribute>,
    ) -> wasmtime::Result<()> {
        // Kept even when the log limit is exceeded: it may be a panic message.
        if level == log::Level::Error {
            self.last_error = Some(message.chars().take(MESSAGE_BYTES).collect());
        }
        let operation = self.operation_label();
        if !self.context().log_limiter.admit(&operation) {
            return Ok(());
        }
        if let (log::Level::Info, Some(progress)) = (level, &self.progress) {
            progress.report(&message);
        }
        let provider = self.context().provider.as_str();
        let message = sanitize(&message, MESSAGE_BYTES);
        let fields = joined(&fields);
        match level {
            log::Level::Trace => tracing::trace!(provider, operation, fields, "{message}"),
            log::Level::Debug => tracing::debug!(provider, operation, fields, "{message}"),
            log::Level::Info => tracing::info!(provider, operation, fields, "{message}"),
            log::Level::Warn => tracing::warn!(provider, operation, fields, "{message}"),
            log::Level::Error => tracing::error!(provider, operation, fields, "{message}"),
        }
        Ok(())
    }
}

/// Formats up to [`FIELDS`] fields as `name=value name=value`.
fn joined(fields: &[types::Attribute]) -> String {
    let mut joined = String::new();
    for field in fields.iter().take(FIELDS) {
        let space = if joined.is_empty() { "" } else { " " };
        let (name, value) =
            (sanitize(&field.name, FIELD_BYTES), sanitize(&field.value, FIELD_BYTES));
        write!(joined, "{space}{name}={value}").expect("writing to a String cannot fail");
    }
    joined
}
