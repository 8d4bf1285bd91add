//! The deadline of an exchange: which side it waits on, and since when.

use std::{
    cell::Cell,
    task::{Context, Poll, Waker},
};

use crate::{
    clock::{Clock, Tick},
    settings::HttpLimits,
};

/// Tracks the side that an exchange waits on. The clock restarts whenever bytes pass, so a deadline
/// limits how long one side makes no progress, not how long the exchange takes.
pub(crate) struct ExchangeDeadline {
    clock: Clock,
    waiting_on: Cell<WaitingOn>,
    since: Cell<Tick>,
    expired: Cell<bool>,
    /// The task to wake when the deadline expires.
    waker: Cell<Option<Waker>>,
}

/// The side that must act next for the exchange to make progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitingOn {
    /// No exchange is in progress.
    Nothing,
    /// The client: to send more of the request body.
    RequestBody,
    /// The upstream: to read more of the request, or to begin its response.
    ResponseHead,
    /// The upstream: to send more of the response body.
    ResponseBody,
    /// The client: to read more of the response.
    ClientRead,
}

// === impl ExchangeDeadline ===

impl ExchangeDeadline {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            waiting_on: Cell::new(WaitingOn::Nothing),
            since: Cell::new(clock.now()),
            expired: Cell::new(false),
            waker: Cell::new(None),
        }
    }

    /// The request is being sent to the upstream.
    pub(crate) fn request_started(&self) {
        self.restart(WaitingOn::ResponseHead);
    }

    /// The upstream has sent the response head.
    pub(crate) fn response_started(&self) {
        self.restart(WaitingOn::ClientRead);
    }

    /// The last byte of the response has been handed to the client's connection.
    pub(crate) fn response_ended(&self) {
        self.restart(WaitingOn::Nothing);
    }

    /// The upstream was ready for more of the request body; `passed` if there was some.
    pub(crate) fn request_body_polled(&self, passed: bool) {
        match (self.waiting_on.get(), passed) {
            (WaitingOn::RequestBody | WaitingOn::ResponseHead, true) => {
                self.restart(WaitingOn::ResponseHead);
            }
            (WaitingOn::ResponseHead, false) => self.restart(WaitingOn::RequestBody),
            // Progress of the request body also extends a response that has begun.
            (WaitingOn::ResponseBody, true) => self.restart(WaitingOn::ResponseBody),
            _ => {}
        }
    }

    /// The client was ready for more of the response body; `passed` if there was some.
    pub(crate) fn response_body_polled(&self, passed: bool) {
        match (self.waiting_on.get(), passed) {
            (_, true) => self.restart(WaitingOn::ClientRead),
            (WaitingOn::ResponseBody, false) => {}
            (_, false) => self.restart(WaitingOn::ResponseBody),
        }
    }

    /// The exchange waits for the client to send its request body.
    pub(crate) fn waits_on_request_body(&self) -> bool {
        self.waiting_on.get() == WaitingOn::RequestBody
    }

    /// Ready once the deadline has expired; until then the task is woken when it does.
    pub(crate) fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        if self.expired.get() {
            return Poll::Ready(());
        }
        let waker = match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.waker.set(Some(waker));
        Poll::Pending
    }

    /// Wakes the exchange if the side that it waits on has exceeded its limit.
    pub(crate) fn check(&self, limits: &HttpLimits) {
        let limit = match self.waiting_on.get() {
            WaitingOn::Nothing | WaitingOn::ClientRead => return,
            WaitingOn::RequestBody => limits.body_timeout,
            WaitingOn::ResponseHead => limits.response_timeout,
            WaitingOn::ResponseBody => limits.read_timeout,
        };
        if self.clock.passed(self.since.get(), limit) {
            self.expired.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    fn restart(&self, waiting_on: WaitingOn) {
        self.waiting_on.set(waiting_on);
        self.since.set(self.clock.now());
        self.expired.set(false);
    }
}
