//! Contract errors of failed requests and calls.

use tonic::Code;

use crate::{
    bindings::types,
    convert::{attribute, error},
    endpoint::{grpc::number, label::SendError},
};

/// The contract error for a request or call that failed.
pub(super) fn send_failed(failure: SendError) -> types::Error {
    match failure {
        SendError::Broken(message) => error(types::ErrorCode::Internal, message),
        SendError::Invalid(message) => error(types::ErrorCode::InvalidRequest, message),
        SendError::Status { code, message } => status(code, message),
        SendError::Timeout(message) => error(types::ErrorCode::Timeout, message),
        SendError::Unavailable(message) => error(types::ErrorCode::Unavailable, message),
    }
}

pub(super) fn too_many() -> types::Error {
    error(types::ErrorCode::Internal, "too many responses are open at the same time")
}

/// The contract error for a gRPC status other than OK.
pub(super) fn status(code: Code, message: String) -> types::Error {
    let kind = match code {
        Code::NotFound => types::ErrorCode::NotFound,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => {
            types::ErrorCode::Conflict
        }
        Code::InvalidArgument | Code::OutOfRange => types::ErrorCode::InvalidRequest,
        Code::Unavailable | Code::ResourceExhausted => types::ErrorCode::Unavailable,
        Code::DeadlineExceeded => types::ErrorCode::Timeout,
        Code::PermissionDenied | Code::Unauthenticated => types::ErrorCode::Denied,
        Code::Unimplemented => types::ErrorCode::Unsupported,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            types::ErrorCode::Internal
        }
    };
    let mut error = error(kind, message);
    error.attributes.push(attribute("grpc-status", number(code).to_string()));
    error
}
