//! Scripted responses of endpoints: [`Reply`] for HTTP, [`Answer`] for gRPC.

use std::{collections::VecDeque, time::Duration};

use super::script::Script;
use crate::{
    error::{Error, Result},
    host::{NextMessage, ReadBody},
    words::Attribute,
};

/// The response to an expected request.
#[derive(Debug)]
pub struct Reply {
    pub(super) head: Result<(u16, Vec<Attribute>)>,
    pub(super) delay: Duration,
    reason: Option<String>,
    pieces: VecDeque<Piece>,
    open: bool,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
    Break(Error),
}

/// The answer to an expected gRPC call.
#[derive(Debug)]
pub struct Answer {
    pub(super) messages: VecDeque<Result<Vec<u8>>>,
    open: bool,
}

pub(super) struct Stream {
    script: Script,
    answer: Answer,
}

pub(super) struct Body {
    script: Script,
    reason: Option<String>,
    pieces: VecDeque<Piece>,
    open: bool,
}

// === impl Reply ===

impl Reply {
    /// A response with this status and an empty body.
    pub fn status(status: u16) -> Self {
        Self {
            head: Ok((status, Vec::new())),
            delay: Duration::ZERO,
            reason: None,
            pieces: VecDeque::new(),
            open: false,
        }
    }

    /// A response with status 200 and this JSON body.
    pub fn json(body: serde_json::Value) -> Self {
        Self::status(200).header("content-type", "application/json").body(body.to_string())
    }

    /// An error of the host instead of a response.
    pub fn error(error: Error) -> Self {
        Self { head: Err(error), ..Self::status(0) }
    }

    /// Sets the reason phrase.
    #[must_use]
    pub fn reason(mut self, words: &str) -> Self {
        self.reason = Some(words.to_owned());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok((_, headers)) = &mut self.head {
            headers.push(Attribute::new(name.to_ascii_lowercase(), value));
        }
        self
    }

    /// Adds a piece of the body, read separately.
    #[must_use]
    pub fn body(mut self, piece: impl Into<Vec<u8>>) -> Self {
        self.pieces.push_back(Piece::Bytes(piece.into()));
        self
    }

    /// Delays the head or the error.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Delays the next piece.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pieces.push_back(Piece::Pause(pause));
        self
    }

    /// Fails the body at this point.
    #[must_use]
    pub fn breaks(mut self, error: Error) -> Self {
        self.pieces.push_back(Piece::Break(error));
        self
    }

    /// Keeps the body open: reading after the last piece ends the script.
    #[must_use]
    pub fn stays_open(mut self) -> Self {
        self.open = true;
        self
    }

    pub(super) fn into_body(self, script: Script) -> Body {
        Body { script, reason: self.reason, pieces: self.pieces, open: self.open }
    }
}

// === impl Body ===

impl ReadBody for Body {
    fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    fn read(&mut self, limit: u32) -> Result<Option<Vec<u8>>> {
        loop {
            match self.pieces.pop_front() {
                Some(Piece::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Piece::Bytes(mut bytes)) => {
                    let rest = bytes.split_off(bytes.len().min(limit.max(1) as usize));
                    self.pieces.push_front(Piece::Bytes(rest));
                    return Ok(Some(bytes));
                }
                Some(Piece::Pause(pause)) => self.script.advance(pause),
                Some(Piece::Break(error)) => return Err(error),
                None if self.open => self.script.end("waiting for an open body"),
                None => return Ok(None),
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    /// A message; a stream may have more.
    pub fn message(message: impl Into<Vec<u8>>) -> Self {
        Self { messages: [Ok(message.into())].into(), open: false }
    }

    /// An error of the host.
    pub fn error(error: Error) -> Self {
        Self { messages: [Err(error)].into(), open: false }
    }

    /// A gRPC status other than OK, by its code.
    pub fn status(number: u32, message: &str) -> Self {
        let code = match number {
            3 | 11 => crate::ErrorCode::InvalidRequest,
            4 => crate::ErrorCode::Timeout,
            5 => crate::ErrorCode::NotFound,
            6 | 9 | 10 => crate::ErrorCode::Conflict,
            7 | 16 => crate::ErrorCode::Denied,
            8 | 14 => crate::ErrorCode::Unavailable,
            12 => crate::ErrorCode::Unsupported,
            _ => crate::ErrorCode::Internal,
        };
        Self::error(Error::new(code, message).with_attribute("grpc-status", number.to_string()))
    }

    /// Adds a message to the stream.
    #[must_use]
    pub fn then(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.messages.push_back(Ok(message.into()));
        self
    }

    /// Fails the stream at this point; a timeout may be followed by more messages.
    #[must_use]
    pub fn breaks(mut self, error: Error) -> Self {
        self.messages.push_back(Err(error));
        self
    }

    /// Keeps the stream open: reading after the last message ends the script.
    #[must_use]
    pub fn stays_open(mut self) -> Self {
        self.open = true;
        self
    }

    pub(super) fn into_stream(self, script: Script) -> Stream {
        Stream { script, answer: self }
    }
}

// === impl Stream ===

impl NextMessage for Stream {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match self.answer.messages.pop_front() {
            Some(message) => message.map(Some),
            None if self.answer.open => self.script.end("waiting for an open stream"),
            None => Ok(None),
        }
    }
}
