//! A response, read whole or piece by piece.

use serde::de::DeserializeOwned;

use super::{Lines, Values};
use crate::{
    error::{Error, Result},
    host::Reply,
    words::find,
};

/// The largest body that is read whole.
pub const BODY_LIMIT: usize = 8 << 20;

/// The most that is asked of the host at a time.
const PIECE: u32 = 64 << 10;

/// A response whose body is still to be read. Dropping it abandons the rest.
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

    /// What was asked, for messages: `GET /containers/json`.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// For instance 404.
    pub fn status(&self) -> u16 {
        self.reply.status
    }

    /// The status line's own words, when they are others than the usual ones of its status: some
    /// platforms say there what went wrong.
    pub fn reason(&self) -> Option<String> {
        self.reply.body.reason()
    }

    /// The status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.reply.status)
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.reply.headers, &name.to_ascii_lowercase())
    }

    /// The next piece of the body, at least one byte; none at the end. Waits for it.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>> {
        self.read_up_to(PIECE)
    }

    /// The same with at most so many bytes; `limit` is not 0.
    pub fn read_up_to(&mut self, limit: u32) -> Result<Option<Vec<u8>>> {
        let limit = limit.min(PIECE);
        self.reply.body.read(limit).map_err(|error| error.context(&self.request))
    }

    /// The whole body; `internal` if it is longer than `limit`.
    pub fn bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.read()? {
            if body.len() + piece.len() > limit {
                let what = &self.request;
                return Err(Error::internal(format!("{what}: more than {limit} bytes came back")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The whole body as text, at most [`BODY_LIMIT`]; what is not UTF-8 is replaced.
    pub fn text(self) -> Result<String> {
        let body = self.bytes(BODY_LIMIT)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The whole body as JSON, at most [`BODY_LIMIT`]; `internal` if it is not as expected.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        let what = self.request.clone();
        let body = self.bytes(BODY_LIMIT)?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::internal(format!("{what}: unexpected answer: {error}")))
    }

    /// The body line by line, as it comes.
    pub fn lines(self) -> Lines {
        Lines::new(self)
    }

    /// The body as JSON values one after the other, as they come: separated by newlines, by any
    /// white space or by nothing.
    pub fn values<T: DeserializeOwned>(self) -> Values<T> {
        Values::new(self)
    }
}
