//! The last lines of a container. With a terminal the stream is what was written; without one it
//! comes in frames: one byte that says which stream, three zeros, the length as four bytes.

use std::collections::VecDeque;

use drowse_provider_sdk::{Error, Result, encode};

use crate::{
    api::{Call, Engine},
    model::Inspect,
};

/// More is not asked for, whatever the caller wants.
const LINES_LIMIT: u32 = 2000;

/// Where a line is cut.
const LINE_LIMIT: usize = 8 << 10;

/// The last lines of both streams, in the order in which they were completed.
pub(crate) fn tail(
    engine: &Engine,
    container: &Inspect,
    lines: u32,
    attempt: &str,
) -> Result<Vec<String>> {
    let lines = lines.min(LINES_LIMIT);
    if lines == 0 {
        return Ok(Vec::new());
    }
    let path = format!("/containers/{}/logs", encode(&container.id));
    let call = Call::get(&path).query("stdout", "1").query("stderr", "1");
    let answer = engine.send(&call.query("tail", lines.to_string()));
    let mut answer = answer.map_err(|error| error.context(attempt))?;
    if !answer.is_done() {
        return Err(answer.refusal(attempt));
    }
    let mut tail = Tail { lines: VecDeque::new(), limit: lines as usize };
    let mut frames = Frames::default();
    let mut raw = Vec::new();
    while let Some(piece) = answer.response.read().map_err(|error| error.context(attempt))? {
        if container.config.tty {
            tail.push(&mut raw, &piece);
        } else {
            frames.feed(&piece, &mut tail).map_err(|error| error.context(attempt))?;
        }
    }
    for rest in [raw, frames.out, frames.err] {
        if !rest.is_empty() {
            tail.line(&rest);
        }
    }
    Ok(tail.lines.into())
}

/// The last lines.
struct Tail {
    lines: VecDeque<String>,
    limit: usize,
}

/// Takes frames apart, wherever the pieces are cut.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// What is left of the frame's content.
    left: usize,
    /// Unfinished lines.
    out: Vec<u8>,
    err: Vec<u8>,
}

// === impl Tail ===

impl Tail {
    /// Adds written bytes to an unfinished line and keeps what becomes finished.
    fn push(&mut self, line: &mut Vec<u8>, written: &[u8]) {
        for part in written.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_LIMIT.saturating_sub(line.len());
            let end = part.ends_with(b"\n");
            let content = if end { &part[..part.len() - 1] } else { part };
            line.extend_from_slice(&content[..content.len().min(room)]);
            if end {
                self.line(line);
                line.clear();
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(String::from_utf8_lossy(line).into_owned());
    }
}

// === impl Frames ===

impl Frames {
    fn feed(&mut self, mut piece: &[u8], tail: &mut Tail) -> Result<()> {
        while !piece.is_empty() {
            if self.left == 0 {
                let missing = (8 - self.header.len() % 8).min(piece.len());
                if self.header.len() == 8 {
                    self.header.clear();
                }
                self.header.extend_from_slice(&piece[..missing]);
                piece = &piece[missing..];
                if let [stream, 0, 0, 0, a, b, c, d] = self.header[..] {
                    if stream > 2 {
                        return Err(not_framed());
                    }
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                } else if self.header.len() == 8 {
                    return Err(not_framed());
                }
                continue;
            }
            let (content, rest) = piece.split_at(self.left.min(piece.len()));
            let line = if self.header[0] == 2 { &mut self.err } else { &mut self.out };
            tail.push(line, content);
            self.left -= content.len();
            piece = rest;
        }
        Ok(())
    }
}

fn not_framed() -> Error {
    Error::internal("the engine sent something else than the frames of a log stream")
}
