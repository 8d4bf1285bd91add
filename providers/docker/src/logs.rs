//! Last log lines of a container or of a command inside it. With a terminal the stream is raw;
//! without one it consists of frames: one byte for the stream, three zero bytes, four bytes of
//! length.

use std::collections::VecDeque;

use drowse_provider_sdk::{Error, Response, Result, encode};

use crate::{
    api::{Call, Engine},
    model::Inspect,
};

/// Maximum number of lines requested from the engine.
const LINES_LIMIT: u32 = 2000;

/// Maximum length of a line, in bytes; longer ones are cut.
const LINE_LIMIT: usize = 8 << 10;

/// Maximum bytes read of a stream; the host ends an instance that reads much more.
const BYTES_LIMIT: usize = 4 << 20;

/// Divisor of the requested lines if the stream was too long.
const FEWER: u32 = 8;

/// Last lines of both streams, in the order in which they were completed.
pub(crate) fn tail(
    engine: &Engine,
    container: &Inspect,
    lines: u32,
    attempt: &str,
) -> Result<Vec<String>> {
    let mut lines = lines.min(LINES_LIMIT);
    let path = format!("/containers/{}/logs", encode(&container.id));
    while lines > 0 {
        let call = Call::get(&path).query("stdout", "1").query("stderr", "1");
        let answer = engine.send(&call.query("tail", lines.to_string()));
        let answer = answer.map_err(|error| error.context(attempt))?;
        if !answer.is_done() {
            return Err(answer.to_error(attempt));
        }
        let written = last(answer.response, container.config.tty, lines as usize);
        if let Some(written) = written.map_err(|error| error.context(attempt))? {
            return Ok(written);
        }
        // The lines are very long: request fewer of them.
        lines /= FEWER;
    }
    Ok(Vec::new())
}

/// Reads a stream to its end and keeps its last lines; `limit` is at least 1. None if the stream is
/// longer than [`BYTES_LIMIT`].
pub(crate) fn last(mut stream: Response, tty: bool, limit: usize) -> Result<Option<Vec<String>>> {
    let mut tail = Tail { lines: VecDeque::new(), limit };
    let mut frames = Frames::default();
    let mut raw = Vec::new();
    let mut bytes = 0;
    while let Some(piece) = stream.read()? {
        bytes += piece.len();
        if bytes > BYTES_LIMIT {
            return Ok(None);
        }
        if tty {
            tail.push(&mut raw, &piece);
        } else {
            frames.feed(&piece, &mut tail)?;
        }
    }
    for rest in [raw, frames.out, frames.err] {
        if !rest.is_empty() {
            tail.line(&rest);
        }
    }
    Ok(Some(tail.lines.into()))
}

/// The last lines of a stream.
struct Tail {
    lines: VecDeque<String>,
    limit: usize,
}

/// Decodes frames across piece boundaries.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// Remaining bytes of the current frame.
    left: usize,
    /// Incomplete lines.
    out: Vec<u8>,
    err: Vec<u8>,
}

// === impl Tail ===

impl Tail {
    /// Appends bytes to an incomplete line and keeps the lines that are completed.
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
    Error::internal("the engine sent a log stream without the expected frames")
}
