//! gRPC calls to one endpoint. Messages are opaque bytes; tonic handles framing, trailers and
//! HTTP/2.

use std::{error::Error as _, future::Future, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::{HeaderMap, Uri, uri::PathAndQuery};
use hyper_util::client::legacy;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};

use super::{
    Endpoint,
    connect::GrpcClient,
    label::{SendError, root_cause},
};
use crate::text::{sanitize, seconds};

/// Maximum bytes of a status message.
const MESSAGE: usize = 4 << 10;

/// Added to the timeout sent to the server, so that our own timeout is reported and not the
/// server's message about its deadline.
const LATER: Duration = Duration::from_secs(1);

/// A call that the rules allow.
pub(crate) struct GrpcCall {
    /// `/package.Service/Method`
    pub(crate) method: String,
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Vec<u8>,
    /// Timeout of the answer, or of each message of a stream.
    pub(crate) timeout: Option<Duration>,
    /// Maximum bytes of a response message.
    pub(crate) limit: u64,
}

/// The message stream of one call. Dropping it cancels the call.
pub(crate) struct Messages {
    state: State,
    description: String,
    /// Timeout of each message.
    timeout: Option<Duration>,
}

enum State {
    /// No response head yet: many servers send it only with the first message.
    Opening(AbortOnDropHandle<Result<Streaming<Bytes>, Status>>),
    Open(Box<Streaming<Bytes>>),
    Ended,
}

/// A codec that passes messages unchanged.
#[derive(Clone, Copy)]
struct Opaque;

// === impl Endpoint ===

impl Endpoint {
    /// Makes a unary call. Dropping it cancels the call.
    pub(crate) async fn unary(&self, calling: GrpcCall) -> Result<Bytes, SendError> {
        let timeout = calling.timeout.map_or(self.timeout, |wanted| wanted.min(self.timeout));
        let description = self.description(&calling);
        let answer = async {
            let (mut client, mut request, path) = self.prepare(calling, &description).await?;
            request.set_timeout(timeout.saturating_add(LATER));
            let answer = client.unary(request, path, Opaque).await;
            answer.map_err(|status| self.send_error(&description, &status))
        };
        let late = |_| {
            SendError::Timeout(format!("{description}: no response within {}", seconds(timeout)))
        };
        Ok(tokio::time::timeout(timeout, answer).await.map_err(late)??.into_inner())
    }

    /// Starts a server-streaming call. Returns without waiting for the server; a refusal by the
    /// server is the error of the first message.
    pub(crate) async fn stream(&self, calling: GrpcCall) -> Result<Messages, SendError> {
        let (description, timeout) = (self.description(&calling), calling.timeout);
        let (mut client, request, path) = self.prepare(calling, &description).await?;
        let opening = tokio::spawn(async move {
            Ok(client.server_streaming(request, path, Opaque).await?.into_inner())
        });
        Ok(Messages {
            state: State::Opening(AbortOnDropHandle::new(opening)),
            description,
            timeout,
        })
    }

    fn description(&self, calling: &GrpcCall) -> String {
        format!("{} on endpoint {:?}", calling.method, self.label.name)
    }

    async fn prepare(
        &self,
        calling: GrpcCall,
        description: &str,
    ) -> Result<(Grpc<GrpcClient>, Request<Bytes>, PathAndQuery), SendError> {
        let GrpcCall { method, mut metadata, message, limit, .. } = calling;
        let invalid = |what: &str| SendError::Invalid(format!("{description}: {what}"));
        let path =
            PathAndQuery::try_from(method).map_err(|_| invalid("the method is not valid"))?;
        let origin: Uri = format!("{}{}", self.origin, self.base)
            .parse()
            .map_err(|_| invalid("the endpoint's url is not valid for gRPC"))?;
        self.add_headers(&mut metadata).await?;
        let mut request = Request::new(Bytes::from(message));
        *request.metadata_mut() = MetadataMap::from_headers(metadata);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let client = Grpc::with_origin(self.calls.clone(), origin).max_decoding_message_size(limit);
        Ok((client, request, path))
    }

    /// The error for a status, from the server or from the connection.
    pub(crate) fn send_error(&self, description: &str, status: &Status) -> SendError {
        let Some(source) = status.source() else { return status_error(description, status) };
        let cause = root_cause(source);
        if source.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
            return self.label.unavailable(cause);
        }
        SendError::Broken(format!("{description}: the connection broke: {cause}"))
    }
}

/// The error for a status that the server sent.
fn status_error(description: &str, status: &Status) -> SendError {
    let message = sanitize(status.message(), MESSAGE);
    SendError::Status { code: status.code(), message: format!("{description}: {message}") }
}

// === impl Messages ===

impl Messages {
    /// The next message; none at the end. A timeout does not end the stream.
    pub(crate) async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Bytes>, SendError> {
        let Self { state, description, timeout } = self;
        let next = within(*timeout, advance(state)).await;
        let Some(next) = next else {
            let time = seconds(timeout.unwrap_or_default());
            return Err(SendError::Timeout(format!("{description}: no message within {time}")));
        };
        if !matches!(next, Ok(Some(_))) {
            *state = State::Ended;
        }
        next.map_err(|status| endpoint.send_error(description, &status))
    }
}

async fn advance(state: &mut State) -> Result<Option<Bytes>, Status> {
    loop {
        match state {
            State::Opening(opening) => {
                let opened = opening.await.map_err(|_| Status::cancelled("the call was ended"))?;
                *state = State::Open(Box::new(opened?));
            }
            State::Open(messages) => return messages.message().await,
            State::Ended => return Ok(None),
        }
    }
}

/// None on timeout.
async fn within<T>(timeout: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, work).await.ok(),
        None => Some(work.await),
    }
}

// === impl Opaque ===

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The number of a status code.
pub(crate) fn number(code: Code) -> i32 {
    code as i32
}

#[cfg(test)]
mod tests;
