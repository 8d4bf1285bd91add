//! Granted networks.

use crate::{
    bindings::{network as wit, types},
    convert::error,
    network::{Attachment, NetworkError},
    store::HostState,
};

impl wit::Host for HostState {
    async fn add(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<Vec<String>, types::Error>> {
        self.outside("network.add")?;
        let scope = self.scope.clone();
        let added = scope.tenant.networks.add(&attachment.into()).await;
        Ok(match added {
            Ok(addresses) => Ok(addresses.iter().map(ToString::to_string).collect()),
            Err(failure) => Err(self.unattached(failure)),
        })
    }

    async fn del(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.outside("network.del")?;
        let scope = self.scope.clone();
        let deleted = scope.tenant.networks.del(&attachment.into()).await;
        Ok(deleted.map_err(|failure| self.unattached(failure)))
    }

    async fn check(
        &mut self,
        attachment: wit::Attachment,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.outside("network.check")?;
        let scope = self.scope.clone();
        let checked = scope.tenant.networks.check(&attachment.into()).await;
        Ok(checked.map_err(|failure| self.unattached(failure)))
    }
}

impl HostState {
    fn unattached(&self, failure: NetworkError) -> types::Error {
        match failure {
            NetworkError::Denied(message) => {
                self.scope.tenant.refused(&self.doing(), &message);
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
