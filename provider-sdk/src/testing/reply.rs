//! What a scripted endpoint answers.

use std::{collections::VecDeque, time::Duration};

use super::script::Script;
use crate::{
    error::{Error, Result},
    host::ReadBody,
    words::Attribute,
};

/// The answer to an expected request.
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

    /// No response: the host answers this.
    pub fn error(error: Error) -> Self {
        Self { head: Err(error), ..Self::status(0) }
    }

    /// The status line says this instead of its usual words.
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

    /// Adds a piece of the body that arrives by itself.
    #[must_use]
    pub fn body(mut self, piece: impl Into<Vec<u8>>) -> Self {
        self.pieces.push_back(Piece::Bytes(piece.into()));
        self
    }

    /// The head comes this much later, or the error does.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The next piece comes this much later.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pieces.push_back(Piece::Pause(pause));
        self
    }

    /// The body breaks here.
    #[must_use]
    pub fn breaks(mut self, error: Error) -> Self {
        self.pieces.push_back(Piece::Break(error));
        self
    }

    /// The body never ends: after its last piece the script is at its end.
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
                None if self.open => self.script.at_its_end("a body that never ends is read"),
                None => return Ok(None),
            }
        }
    }
}
