//! Streaming bodies: lines and JSON values across piece boundaries.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::Response;
use crate::error::{Error, Result};

/// Maximum length of a line, in bytes; a longer one is an error.
pub const LINE_LIMIT: usize = 256 << 10;

/// Maximum length of a JSON value, in bytes; a longer one is an error.
pub const VALUE_LIMIT: usize = 1 << 20;

/// The lines of a body, without line ends. Ends after the first error.
pub struct Lines(Pieces);

/// The values of a body. A value that does not match `T` is an error of its own; after a stream
/// error the iteration ends.
pub struct Values<T> {
    pieces: Pieces,
    values: PhantomData<fn() -> T>,
}

struct Pieces {
    response: Response,
    buffer: Vec<u8>,
    /// Consumed bytes of the buffer.
    used: usize,
    ended: bool,
}

// === impl Pieces ===

impl Pieces {
    fn new(response: Response) -> Self {
        Self { response, buffer: Vec::new(), used: 0, ended: false }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Waits for more data. False at the end.
    fn grow(&mut self, limit: usize) -> Result<bool> {
        if self.rest().len() > limit {
            return Err(self.broken(format!("more than {limit} bytes without an end")));
        }
        match self.response.read() {
            Ok(Some(piece)) => {
                self.buffer.drain(..self.used);
                self.used = 0;
                self.buffer.extend_from_slice(&piece);
                Ok(true)
            }
            Ok(None) => {
                self.ended = true;
                Ok(false)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    fn broken(&mut self, what: String) -> Error {
        self.ended = true;
        self.used = self.buffer.len();
        Error::internal(format!("{}: {what}", self.response.request()))
    }
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(response: Response) -> Self {
        Self(Pieces::new(response))
    }
}

impl Iterator for Lines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.rest();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                let line = String::from_utf8_lossy(line).into_owned();
                self.0.used += end + 1;
                return Some(Ok(line));
            }
            if self.0.ended {
                let line = String::from_utf8_lossy(rest).into_owned();
                self.0.used = self.0.buffer.len();
                return (!line.is_empty()).then_some(Ok(line));
            }
            if let Err(error) = self.0.grow(LINE_LIMIT) {
                self.0.used = self.0.buffer.len();
                return Some(Err(error));
            }
        }
    }
}

// === impl Values ===

impl<T: DeserializeOwned> Values<T> {
    pub(super) fn new(response: Response) -> Self {
        Self { pieces: Pieces::new(response), values: PhantomData }
    }

    /// The next value that is complete in the buffer.
    fn parse(&mut self) -> Option<Result<T>> {
        let mut values = serde_json::Deserializer::from_slice(self.pieces.rest())
            .into_iter::<serde_json::Value>();
        match values.next()? {
            Ok(value) => {
                self.pieces.used += values.byte_offset();
                Some(serde_json::from_value(value).map_err(|error| {
                    let what = self.pieces.response.request();
                    Error::internal(format!("{what}: unexpected value: {error}"))
                }))
            }
            Err(error) if error.is_eof() && !self.pieces.ended => None,
            Err(error) => Some(Err(self.pieces.broken(format!("not JSON: {error}")))),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Values<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(value) = self.parse() {
                return Some(value);
            }
            if self.pieces.ended {
                return None;
            }
            if let Err(error) = self.pieces.grow(VALUE_LIMIT) {
                self.pieces.used = self.pieces.buffer.len();
                return Some(Err(error));
            }
        }
    }
}
