//! Conversions between the contract's records and core's.

use drowse_core::{ErrorCode, Exit, RecreateOptions, RemoveOptions, StopOptions, Target, Usage};

use crate::{bindings::types, text::sanitize};

/// Maximum lines of a command's output.
const EXIT_LINES: usize = 100;
/// Maximum bytes of such a line.
const EXIT_LINE_BYTES: usize = 4 << 10;

// === to the guest ===

pub(crate) fn target(target: &Target) -> types::Target {
    types::Target {
        handle: target.handle.clone(),
        settings: target.settings.clone(),
        attributes: Vec::new(),
    }
}

pub(crate) fn stop_options(options: &StopOptions) -> types::StopOptions {
    types::StopOptions {
        signal: options.signal.clone(),
        grace_ms: u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX),
        attributes: Vec::new(),
    }
}

pub(crate) fn recreate_options(options: &RecreateOptions) -> types::RecreateOptions {
    types::RecreateOptions {
        refresh: options.refresh,
        stop: stop_options(&options.stop),
        attributes: Vec::new(),
    }
}

pub(crate) fn remove_options(options: RemoveOptions) -> types::RemoveOptions {
    types::RemoveOptions { preserve_data: options.preserve_data, attributes: Vec::new() }
}

pub(crate) fn error(code: types::ErrorCode, message: impl Into<String>) -> types::Error {
    types::Error { code, message: message.into(), attributes: Vec::new() }
}

pub(crate) fn attribute(name: impl Into<String>, value: impl Into<String>) -> types::Attribute {
    types::Attribute { name: name.into(), value: value.into() }
}

// === from the guest ===

/// Truncates the output to the contract's limits.
pub(crate) fn exit(exit: types::Exit) -> Exit {
    let skip = exit.output.len().saturating_sub(EXIT_LINES);
    let lines = exit.output.iter().skip(skip);
    Exit {
        status: exit.status,
        output: lines.map(|line| sanitize(line, EXIT_LINE_BYTES)).collect(),
    }
}

/// Drops percentages that are negative, infinite or not a number.
pub(crate) fn usage(usage: types::ResourceUsage) -> Usage {
    let percent = |percent: &f64| percent.is_finite() && *percent >= 0.0;
    Usage { cpu_percent: usage.cpu_percent.filter(percent), memory: usage.memory }
}

pub(crate) fn error_code(code: types::ErrorCode) -> ErrorCode {
    match code {
        types::ErrorCode::InvalidRequest => ErrorCode::InvalidRequest,
        types::ErrorCode::NotFound => ErrorCode::NotFound,
        types::ErrorCode::Conflict => ErrorCode::Conflict,
        types::ErrorCode::Unavailable => ErrorCode::Unavailable,
        types::ErrorCode::Timeout => ErrorCode::Timeout,
        types::ErrorCode::Unsupported => ErrorCode::Unsupported,
        types::ErrorCode::Internal => ErrorCode::Internal,
        types::ErrorCode::Denied => ErrorCode::Denied,
        types::ErrorCode::Other(code) => ErrorCode::Other(sanitize(&code, 64)),
    }
}
