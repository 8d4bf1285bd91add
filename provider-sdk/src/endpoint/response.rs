//! A response, read at once or in pieces.

use serde::de::DeserializeOwned;

use super::{Lines, Values};
use crate::{
    error::{Error, Result},
    host::Reply,
    words::find,
};

/// Maximum size of a body that is read at once, in bytes.
pub const BODY_LIMIT: usize = 8 << 20;

/// Maximum bytes requested from the host at a time.
const PIECE: u32 = 64 << 10;

/// A response with an unread body. Dropping it discards the rest.
pub struct Response {
    /// `GET /containers/json`, for messages.
    request: String,
    reply: Reply,
}

// === impl Response ===

impl Response {
    pub(super) fn new(request: String, reply: Reply) -> Self {
        Self { request, reply }
    }

    /// The request, for messages: `GET /containers/json`.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Status code, such as 404.
    pub fn status(&self) -> u16 {
        self.reply.status
    }

    /// Reason phrase, if it differs from the standard one of the status: some platforms put their
    /// error message there.
    pub fn reason(&self) -> Option<String> {
        self.reply.body.reason()
    }

    /// Returns whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.reply.status)
    }

    /// The first header of this name, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.reply.headers, &name.to_ascii_lowercase())
    }

    /// Waits for the next piece of the body, at least one byte; None at the end.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>> {
        self.read_up_to(PIECE)
    }

    /// As [`read`](Self::read) with at most `limit` bytes; `limit` is not 0.
    pub fn read_up_to(&mut self, limit: u32) -> Result<Option<Vec<u8>>> {
        let limit = limit.min(PIECE);
        self.reply.body.read(limit).map_err(|error| error.context(&self.request))
    }

    /// The whole body; `internal` if it is longer than `limit` bytes.
    pub fn bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.read()? {
            if body.len() + piece.len() > limit {
                let what = &self.request;
                return Err(Error::internal(format!(
                    "{what}: the response has more than {limit} bytes"
                )));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The whole body as text, at most [`BODY_LIMIT`]; invalid UTF-8 is replaced.
    pub fn text(self) -> Result<String> {
        let body = self.bytes(BODY_LIMIT)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The whole body as JSON, at most [`BODY_LIMIT`]; `internal` if it does not match the type.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        let what = self.request.clone();
        let body = self.bytes(BODY_LIMIT)?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::internal(format!("{what}: unexpected response: {error}")))
    }

    /// Iterates over the lines of the body as they arrive.
    pub fn lines(self) -> Lines {
        Lines::new(self)
    }

    /// Iterates over a sequence of JSON values as they arrive, separated by any white space or
    /// nothing.
    pub fn values<T: DeserializeOwned>(self) -> Values<T> {
        Values::new(self)
    }
}
