//! Lines for the operator.

use std::fmt::Write as _;

use crate::{
    bindings::{log, types},
    fault::clean,
    store::HostState,
};

const MESSAGE_BYTES: usize = 4 << 10;
const FIELDS: usize = 32;
const FIELD_BYTES: usize = 256;

impl log::Host for HostState {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<types::Attribute>,
    ) -> wasmtime::Result<()> {
        // A panic's message is wanted even when the log is flooded.
        if level == log::Level::Error {
            self.last_error = Some(message.chars().take(MESSAGE_BYTES).collect());
        }
        let operation = self.doing();
        if !self.scope.tenant.notes.admit(&operation) {
            return Ok(());
        }
        if let (log::Level::Info, Some(saying)) = (level, &self.saying) {
            saying.say(&message);
        }
        let provider = self.scope.tenant.provider.as_str();
        let message = clean(&message, MESSAGE_BYTES);
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

/// `name=value name=value`, as far as it is reasonable.
fn joined(fields: &[types::Attribute]) -> String {
    let mut joined = String::new();
    for field in fields.iter().take(FIELDS) {
        let space = if joined.is_empty() { "" } else { " " };
        let (name, value) = (clean(&field.name, FIELD_BYTES), clean(&field.value, FIELD_BYTES));
        write!(joined, "{space}{name}={value}").expect("writing to a String cannot fail");
    }
    joined
}
