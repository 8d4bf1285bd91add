//! gRPC calls to one endpoint. Messages are opaque bytes; framing, trailers and HTTP/2 are the
//! library's.

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

use super::{Connector, Endpoint, SendError, innermost};
use crate::fault::{clean, seconds};

/// A client that speaks HTTP/2 alone.
pub(super) type Client = legacy::Client<Connector, tonic::body::Body>;

/// The longest message of a server that goes with its status.
const MESSAGE: usize = 4 << 10;

/// So much later than here a server is told that the time is over. Else it would tell of that in words
/// of its own at the very moment in which it is told here.
const LATER: Duration = Duration::from_secs(1);

/// A call that has passed the rules.
pub(crate) struct Calling {
    /// `/package.Service/Method`
    pub(crate) method: String,
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Vec<u8>,
    /// Until the answer, or until each message of a stream.
    pub(crate) timeout: Option<Duration>,
    /// The longest message that may come back.
    pub(crate) limit: u64,
}

/// The messages of one call. Dropping it cancels the call.
pub(crate) struct Messages {
    state: State,
    asked: String,
    /// Until each of them.
    timeout: Option<Duration>,
}

enum State {
    /// The server has not shown yet that it took the call: many begin only with the first message.
    Opening(AbortOnDropHandle<Result<Streaming<Bytes>, Status>>),
    Open(Box<Streaming<Bytes>>),
    Ended,
}

/// Takes and gives messages as they are.
#[derive(Clone, Copy)]
struct Opaque;

// === impl Endpoint ===

impl Endpoint {
    /// Calls and waits for the one answer. Dropping it cancels the call.
    pub(crate) async fn unary(&self, calling: Calling) -> Result<Bytes, SendError> {
        let timeout = calling.timeout.map_or(self.timeout, |wanted| wanted.min(self.timeout));
        let asked = self.asked(&calling);
        let answer = async {
            let (mut client, mut request, path) = self.prepare(calling, &asked).await?;
            request.set_timeout(timeout.saturating_add(LATER));
            let answer = client.unary(request, path, Opaque).await;
            answer.map_err(|status| self.told(&asked, &status))
        };
        let late =
            |_| SendError::Timeout(format!("{asked}: no answer within {}", seconds(timeout)));
        Ok(tokio::time::timeout(timeout, answer).await.map_err(late)??.into_inner())
    }

    /// Calls and hands out the messages as they come. The call has begun when this returns; whether
    /// the server takes it is seen with the first message.
    pub(crate) async fn stream(&self, calling: Calling) -> Result<Messages, SendError> {
        let (asked, timeout) = (self.asked(&calling), calling.timeout);
        let (mut client, request, path) = self.prepare(calling, &asked).await?;
        let opening = tokio::spawn(async move {
            Ok(client.server_streaming(request, path, Opaque).await?.into_inner())
        });
        Ok(Messages { state: State::Opening(AbortOnDropHandle::new(opening)), asked, timeout })
    }

    fn asked(&self, calling: &Calling) -> String {
        format!("{} on endpoint {:?}", calling.method, self.place.name)
    }

    async fn prepare(
        &self,
        calling: Calling,
        asked: &str,
    ) -> Result<(Grpc<Client>, Request<Bytes>, PathAndQuery), SendError> {
        let Calling { method, mut metadata, message, limit, .. } = calling;
        let invalid = |what: &str| SendError::Invalid(format!("{asked}: {what}"));
        let path = PathAndQuery::try_from(method).map_err(|_| invalid("it is no method"))?;
        let origin: Uri = format!("{}{}", self.origin, self.base)
            .parse()
            .map_err(|_| invalid("the endpoint's url cannot be called"))?;
        self.add_headers(&mut metadata).await?;
        let mut request = Request::new(Bytes::from(message));
        *request.metadata_mut() = MetadataMap::from_headers(metadata);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let client = Grpc::with_origin(self.calls.clone(), origin).max_decoding_message_size(limit);
        Ok((client, request, path))
    }

    /// What a status means, from the server or from the way to it.
    pub(crate) fn told(&self, asked: &str, status: &Status) -> SendError {
        let Some(source) = status.source() else { return refused(asked, status) };
        let cause = innermost(source);
        if source.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
            return self.place.unavailable(cause);
        }
        SendError::Broken(format!("{asked}: the connection broke: {cause}"))
    }
}

/// What the server itself says.
fn refused(asked: &str, status: &Status) -> SendError {
    let said = clean(status.message(), MESSAGE);
    SendError::Status { code: status.code(), message: format!("{asked}: {said}") }
}

// === impl Messages ===

impl Messages {
    /// The next message, none after the last. A timeout ends nothing: it may be asked for again.
    pub(crate) async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Bytes>, SendError> {
        let Self { state, asked, timeout } = self;
        let next = within(*timeout, advance(state)).await;
        let Some(next) = next else {
            let time = seconds(timeout.unwrap_or_default());
            return Err(SendError::Timeout(format!("{asked}: no message within {time}")));
        };
        if !matches!(next, Ok(Some(_))) {
            *state = State::Ended;
        }
        next.map_err(|status| endpoint.told(asked, &status))
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

/// None when it took longer.
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

/// The number of a code on the wire.
pub(crate) fn number(code: Code) -> i32 {
    code as i32
}

#[cfg(test)]
mod tests;
