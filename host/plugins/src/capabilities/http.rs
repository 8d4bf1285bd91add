//! HTTP requests to granted endpoints.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::ext::ReasonPhrase;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;

use super::errors::{send_failed, too_many};
use crate::{
    bindings::{http as wit, types},
    convert::{attribute, error},
    endpoint::{Endpoint, OutgoingRequest},
    grants::{HttpAttempt, is_allowed_header, masked_url, toml_key},
    resources::IncomingResponse,
    store::HostState,
    text::sanitize,
};

/// Maximum bytes of a reason phrase.
const REASON: usize = 4 << 10;

impl wit::Host for HostState {
    async fn send(
        &mut self,
        request: wit::Request,
    ) -> wasmtime::Result<Result<Resource<IncomingResponse>, types::Error>> {
        self.require_call_phase("http.send")?;
        let response = match self.exchange(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.table.push(response).map_err(|_| too_many()))
    }
}

impl wit::HostResponse for HostState {
    async fn status(&mut self, response: Resource<IncomingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    async fn reason(
        &mut self,
        response: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&response)?.reason.clone())
    }

    async fn headers(
        &mut self,
        response: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Vec<types::Attribute>> {
        let headers = &self.table.get(&response)?.headers;
        Ok(headers.iter().map(|(name, value)| attribute(name, value)).collect())
    }

    async fn read(
        &mut self,
        response: Resource<IncomingResponse>,
        limit: u32,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, types::Error>> {
        let response = self.table.get_mut(&response)?;
        let piece = match response.next(limit).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let taken = response.taken;
        self.receive(piece.len(), taken).await?;
        Ok(Ok(Some(piece.to_vec())))
    }

    async fn drop(&mut self, response: Resource<IncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

impl HostState {
    /// Permits for one more open response, of the instance and of the provider.
    pub(super) async fn hold(&mut self) -> Result<[OwnedSemaphorePermit; 2], types::Error> {
        let own = self.held.clone().try_acquire_owned().map_err(|_| too_many())?;
        // Waits while other instances hold the provider's whole limit. The semaphore is never
        // closed.
        let all = self.context().responses.clone();
        let all = all.acquire_owned().await.map_err(|_| too_many())?;
        Ok([own, all])
    }

    async fn exchange(&mut self, request: wit::Request) -> Result<IncomingResponse, types::Error> {
        let grants = self.grants.clone();
        let attempt = HttpAttempt {
            provider: &grants.context.provider,
            endpoint: &request.endpoint,
            method: &request.method,
            path: &request.path,
            body: !request.body.is_empty(),
            target: self.target.as_deref(),
        };
        let allowed = grants.endpoint_for(&attempt).and_then(|endpoint| {
            let headers = headers(&attempt, endpoint, &request.headers)?;
            Ok((endpoint, headers))
        });
        let (endpoint, headers) = allowed.map_err(|refusal| {
            grants.context.refused(&self.operation_label(), &refusal);
            error(types::ErrorCode::Denied, refusal)
        })?;
        let held = self.hold().await?;
        let description = format!("{} {}", request.method, masked_url(&request.path));
        let outgoing = OutgoingRequest {
            method: request.method,
            path: request.path,
            headers,
            body: request.body,
            timeout: request.timeout_ms.map(Duration::from_millis),
        };
        let (head, body) = endpoint.send(outgoing).await.map_err(send_failed)?.into_parts();
        Ok(IncomingResponse {
            status: head.status.as_u16(),
            reason: reason(&head),
            headers: header_pairs(&head.headers),
            body,
            piece: Bytes::new(),
            taken: 0,
            description,
            _permits: held,
        })
    }
}

// === impl IncomingResponse ===

impl IncomingResponse {
    /// The next chunk of at most `limit` bytes; none at the end.
    async fn next(&mut self, limit: u32) -> Result<Option<Bytes>, types::Error> {
        if limit == 0 {
            return Err(error(
                types::ErrorCode::InvalidRequest,
                "the read limit must be greater than 0",
            ));
        }
        while self.piece.is_empty() {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(cause)) => {
                    let message =
                        format!("{}: the response body ended early: {cause}", self.description);
                    return Err(error(types::ErrorCode::Internal, message));
                }
            }
        }
        let size = self.piece.len().min(limit as usize);
        self.taken += size as u64;
        Ok(Some(self.piece.split_to(size)))
    }
}

/// The guest's headers, or the refusal.
fn headers(
    attempt: &HttpAttempt<'_>,
    endpoint: &Endpoint,
    given: &[types::Attribute],
) -> Result<HeaderMap, String> {
    let HttpAttempt { provider, endpoint: at, .. } = attempt;
    let mut headers = HeaderMap::with_capacity(given.len());
    for types::Attribute { name, value } in given {
        let refused = |why: &str| {
            let name = sanitize(name, 128);
            format!("provider {provider:?}: header {name:?} on endpoint {at:?} is refused: {why}")
        };
        let name: HeaderName =
            name.parse().map_err(|_| refused("it is not a valid header name"))?;
        if endpoint.sets(&name) {
            return Err(refused("the router sets it"));
        }
        if !is_allowed_header(name.as_str()) {
            let (provider, at) = (toml_key(provider), toml_key(at));
            return Err(refused(&format!(
                "a plugin may not set it; set headers that the endpoint needs in \
                 [provider.{provider}]: endpoint.{at}.headers"
            )));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| refused("its value is not a valid header value"))?;
        headers.try_append(name, value).map_err(|_| refused("there are too many"))?;
    }
    Ok(headers)
}

/// The reason phrase of the status line, if the server sent a non-standard one.
fn reason(head: &http::response::Parts) -> Option<String> {
    let own = head.extensions.get::<ReasonPhrase>()?;
    let text = String::from_utf8_lossy(own.as_bytes());
    Some(text[..text.floor_char_boundary(REASON)].to_owned()).filter(|text| !text.is_empty())
}

fn header_pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests;
