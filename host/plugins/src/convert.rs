//! The contract's records as core's, and back.

use drowse_core::{Address, ErrorCode, Health, Observation, Status, StopOptions, Target};

use crate::bindings::types;

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

pub(crate) fn error(code: types::ErrorCode, message: impl Into<String>) -> types::Error {
    types::Error { code, message: message.into(), attributes: Vec::new() }
}

pub(crate) fn attribute(name: impl Into<String>, value: impl Into<String>) -> types::Attribute {
    types::Attribute { name: name.into(), value: value.into() }
}

// === from the guest ===

pub(crate) fn observation(observed: types::Observation) -> Observation {
    let pairs = |attributes: Vec<types::Attribute>| {
        attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect()
    };
    Observation {
        handle: observed.handle,
        status: match observed.status {
            types::Status::Running => Status::Running,
            types::Status::Starting => Status::Starting,
            types::Status::Paused => Status::Paused,
            types::Status::Stopping => Status::Stopping,
            types::Status::Stopped => Status::Stopped,
            types::Status::Failed => Status::Failed,
            types::Status::Missing => Status::Missing,
            types::Status::Other(word) => Status::Other(word),
        },
        native_status: observed.native_status,
        native_id: observed.native_id,
        health: match observed.health {
            types::Health::None => Health::None,
            types::Health::Starting => Health::Starting,
            types::Health::Healthy => Health::Healthy,
            types::Health::Unhealthy => Health::Unhealthy,
            types::Health::Other(word) => Health::Other(word),
        },
        addresses: observed
            .addresses
            .into_iter()
            .map(|address| Address {
                host: address.host,
                port: address.port,
                target_port: address.target_port,
            })
            .collect(),
        labels: pairs(observed.labels),
        detail: observed.detail,
        attributes: pairs(observed.attributes),
    }
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
        types::ErrorCode::Other(word) => ErrorCode::Other(crate::fault::clean(&word, 64)),
    }
}
