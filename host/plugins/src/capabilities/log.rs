//! Lines for the operator.

use std::{fmt::Write as _, time::Instant};

use crate::{
    bindings::{log, types},
    fault::clean,
    rate::Bucket,
    store::HostState,
};

const MESSAGE_BYTES: usize = 4 << 10;
const FIELDS: usize = 32;
const FIELD_BYTES: usize = 256;

/// Lets so many lines a second pass and counts the others.
#[derive(Debug)]
pub(crate) struct LogGate {
    bucket: Bucket,
    left_out: u64,
}

// === impl LogGate ===

impl LogGate {
    pub(crate) fn new(lines: u32, now: Instant) -> Self {
        Self { bucket: Bucket::new(lines.into(), now), left_out: 0 }
    }

    /// Whether a line passes, and how many before it did not.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(1, now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }

    /// How many lines did not pass since one did.
    pub(crate) fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// Says how many lines were left out, if any.
pub(crate) fn tell_left_out(provider: &str, operation: &str, left_out: u64) {
    if left_out > 0 {
        tracing::warn!(
            provider,
            operation,
            left_out,
            "log lines of the plugin left out (limits.log-lines)"
        );
    }
}

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
        let Some(left_out) = self.scope.with_log(|gate| gate.admit(Instant::now())) else {
            return Ok(());
        };
        let provider = self.scope.tenant.provider.as_str();
        let operation = self.doing();
        tell_left_out(provider, &operation, left_out);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let start = Instant::now();
        let mut gate = LogGate::new(20, start);
        let written = (0..10_000).filter(|_| gate.admit(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(gate.admit(start + Duration::from_secs(1)), Some(9_980));
        assert_eq!(gate.left_out(), 0);
    }
}
