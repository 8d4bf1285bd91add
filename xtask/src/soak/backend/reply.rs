//! Response bodies of the soak's backend.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{super::content::Content, ActiveRequest};

/// A response body. The request is in progress until its last byte is sent.
pub(super) struct Reply {
    source: Source,
    _inside: Option<ActiveRequest>,
}

enum Source {
    Text(Bytes),
    Pieces(Pieces),
}

/// A prefix of a content, in chunks. With a pause before each chunk, the length is not sent in advance.
struct Pieces {
    content: Content,
    at: u64,
    end: u64,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Chunk size in bytes.
const PIECE: u64 = 16 << 10;

// === impl Reply ===

impl Reply {
    pub(super) fn text(text: impl Into<Bytes>, inside: Option<ActiveRequest>) -> Self {
        Self { source: Source::Text(text.into()), _inside: inside }
    }

    pub(super) fn content(
        content: Content,
        bytes: u64,
        pause: Duration,
        inside: Option<ActiveRequest>,
    ) -> Self {
        let pieces = Pieces { content, at: 0, end: bytes, pause, sleep: None };
        Self { source: Source::Pieces(pieces), _inside: inside }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.source {
            Source::Text(text) => std::mem::take(text),
            Source::Pieces(pieces) => ready!(pieces.poll_next(cx)),
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_empty(),
            Source::Pieces(pieces) => pieces.at == pieces.end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.len() as u64),
            Source::Pieces(pieces) if pieces.pause.is_zero() => {
                SizeHint::with_exact(pieces.end - pieces.at)
            }
            Source::Pieces(_) => SizeHint::default(),
        }
    }
}

// === impl Pieces ===

impl Pieces {
    /// The next piece; an empty one at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if !self.pause.is_zero() && self.at < self.end {
            let pause = self.pause;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        let length = PIECE.min(self.end - self.at);
        let piece = self.content.piece(self.at, length as usize);
        self.at += length;
        Poll::Ready(piece)
    }
}
