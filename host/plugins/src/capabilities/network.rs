//! CNI attachments to granted networks.

use crate::{
    bindings::{network as wit, types},
    convert::error,
    network::attachment::{Attachment, NetworkError},
    store::HostState,
};

impl wit::Host for HostState {
    async fn add(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<Vec<String>, types::Error>> {
        self.require_call_phase("network.add")?;
        let grants = self.grants.clone();
        let added = grants.context.networks.add(&attachment.into()).await;
        Ok(match added {
            Ok(addresses) => Ok(addresses.iter().map(ToString::to_string).collect()),
            Err(failure) => Err(self.network_error(failure)),
        })
    }

    async fn del(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.require_call_phase("network.del")?;
        let grants = self.grants.clone();
        let deleted = grants.context.networks.del(&attachment.into()).await;
        Ok(deleted.map_err(|failure| self.network_error(failure)))
    }

    async fn check(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.require_call_phase("network.check")?;
        let grants = self.grants.clone();
        let checked = grants.context.networks.check(&attachment.into()).await;
        Ok(checked.map_err(|failure| self.network_error(failure)))
    }
}

impl HostState {
    fn network_error(&self, failure: NetworkError) -> types::Error {
        match failure {
            NetworkError::Denied(message) => {
                self.context().refused(&self.operation_label(), &message);
                error(types::ErrorCode::Denied, message)
            }
            NetworkError::Failed(message) => error(types::ErrorCode::Unavailable, message),
            NetworkError::Invalid(message) => error(types::ErrorCode::InvalidRequest, message),
            NetworkError::NotFound(message) => error(types::ErrorCode::NotFound, message),
            NetworkError::Timeout(message) => error(types::ErrorCode::Timeout, message),
        }
    }
}

impl From<wit::Attachment> for Attachment {
    fn from(attachment: wit::Attachment) -> Self {
        let wit::Attachment { network, container, namespace, interface, address } = attachment;
        Self { network, container, namespace, interface, address }
    }
}
