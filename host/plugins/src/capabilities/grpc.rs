//! gRPC calls to granted endpoints.

use std::time::Duration;

use drowse_provider_rules::{is_allowed_metadata, metadata_prefix};
use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime::component::Resource;

use super::errors::{send_failed, too_many};
use crate::{
    bindings::{grpc as wit, types},
    convert::error,
    endpoint::{Endpoint, grpc::GrpcCall},
    grants::{GrpcAttempt, toml_key},
    resources::MessageStream,
    store::HostState,
    text::sanitize,
};

impl wit::Host for HostState {
    async fn unary(&mut self, call: wit::Call) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.require_call_phase("grpc.unary")?;
        let grants = self.grants.clone();
        let (endpoint, calling) = match self.calling(&grants, call) {
            Ok(allowed) => allowed,
            Err(error) => return Ok(Err(error)),
        };
        // Held until the answer arrives; from then on it is guest memory.
        let _held = match self.hold().await {
            Ok(held) => held,
            Err(error) => return Ok(Err(error)),
        };
        Ok(endpoint.unary(calling).await.map(Into::into).map_err(send_failed))
    }

    async fn server_stream(
        &mut self,
        call: wit::Call,
    ) -> wasmtime::Result<Result<Resource<MessageStream>, types::Error>> {
        self.require_call_phase("grpc.server-stream")?;
        let grants = self.grants.clone();
        let name = call.endpoint.clone();
        let begun = async {
            let (endpoint, calling) = self.calling(&grants, call)?;
            let held = self.hold().await?;
            let messages = endpoint.stream(calling).await.map_err(send_failed)?;
            Ok(MessageStream { messages, endpoint: name, taken: 0, _permits: held })
        };
        Ok(match begun.await {
            Ok(stream) => self.table.push(stream).map_err(|_| too_many()),
            Err(error) => Err(error),
        })
    }
}

impl wit::HostMessages for HostState {
    async fn next(
        &mut self,
        stream: Resource<MessageStream>,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, types::Error>> {
        let grants = self.grants.clone();
        let stream = self.table.get_mut(&stream)?;
        let Some(endpoint) = grants.context.endpoint(&stream.endpoint) else { return Ok(Ok(None)) };
        let message = match stream.messages.next(endpoint).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(send_failed(failure))),
        };
        stream.taken += message.len() as u64;
        let taken = stream.taken;
        self.receive(message.len(), taken).await?;
        Ok(Ok(Some(message.into())))
    }

    async fn drop(&mut self, stream: Resource<MessageStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl HostState {
    /// The call and its endpoint, if the grants allow it.
    fn calling<'a>(
        &self,
        grants: &'a crate::context::Grants,
        call: wit::Call,
    ) -> Result<(&'a Endpoint, GrpcCall), types::Error> {
        let wit::Call { endpoint, method, metadata, message, timeout_ms } = call;
        let attempt = GrpcAttempt {
            provider: &grants.context.provider,
            endpoint: &endpoint,
            method: &method,
        };
        let allowed = grants.endpoint_for_call(&attempt).and_then(|endpoint| {
            let metadata = self::metadata(&attempt, endpoint, &metadata)?;
            Ok((endpoint, metadata))
        });
        let (endpoint, metadata) = allowed.map_err(|refusal| {
            grants.context.refused(&self.operation_label(), &refusal);
            error(types::ErrorCode::Denied, refusal)
        })?;
        let timeout = timeout_ms.map(Duration::from_millis);
        let limit = grants.limits().response;
        Ok((endpoint, GrpcCall { method, metadata, message, timeout, limit }))
    }
}

/// The guest's metadata, or the refusal. A plugin may set names that begin with the first word of
/// the called service, as `containerd-namespace` for `containerd.services.tasks.v1.Tasks`. All
/// other metadata, credentials above all, comes from the operator's grant.
fn metadata(
    attempt: &GrpcAttempt<'_>,
    endpoint: &Endpoint,
    given: &[types::Attribute],
) -> Result<HeaderMap, String> {
    let GrpcAttempt { provider, endpoint: at, method } = attempt;
    let mut metadata = HeaderMap::with_capacity(given.len());
    for types::Attribute { name, value } in given {
        let refused = |why: &str| {
            let name = sanitize(name, 128);
            format!("provider {provider:?}: metadata {name:?} on endpoint {at:?} is refused: {why}")
        };
        let name: HeaderName = name.parse().map_err(|_| refused("it is not a valid name"))?;
        if endpoint.sets(&name) {
            return Err(refused("the router sets it"));
        }
        if !is_allowed_metadata(method, name.as_str()) {
            let (provider, at) = (toml_key(provider), toml_key(at));
            let own = format!("{}-", metadata_prefix(method));
            return Err(refused(&format!(
                "a plugin may set names that begin with {own:?}, after the service it calls, \
                 except reserved ones; set any other metadata in \
                 [provider.{provider}]: endpoint.{at}.headers"
            )));
        }
        if name.as_str().ends_with("-bin") {
            return Err(refused("only text values can be sent"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| refused("its value is not a valid header value"))?;
        metadata.try_append(name, value).map_err(|_| refused("there are too many"))?;
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
