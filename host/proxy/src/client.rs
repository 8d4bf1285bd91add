//! One client's connection, and whose turn it is in what is exchanged on it.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::HeaderValue;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

use crate::{
    clock::{Clock, Tick},
    settings::HttpLimits,
};

pub(crate) mod socket;

use socket::{Pace, Socket};

/// One client, as long as its connection or tunnel.
pub(crate) struct Client {
    pub(crate) socket: Arc<Socket>,
    clock: Clock,
    /// Where it comes from, by the PROXY protocol if that is spoken.
    pub(crate) address: IpAddr,
    /// The client's address as `X-Forwarded-For` says it.
    pub(crate) forwarded_for: HeaderValue,
    /// Its own `X-Forwarded-*` headers are believed.
    pub(crate) trusted: bool,
    /// The request's body was not read to its end.
    pub(crate) cut_short: Cell<bool>,
    /// The request's body broke off on the client's side.
    pub(crate) broke_off: Cell<bool>,
    /// Requests begun on this connection.
    pub(crate) requests: Cell<u64>,
    /// Whose turn it is and since when, and who is to be woken when it is overdue.
    turn: Cell<Turn>,
    turned: Cell<Tick>,
    overdue: Cell<bool>,
    alarm: Cell<Option<Waker>>,
    /// Counts the connection against its listener's limit.
    _permit: OwnedSemaphorePermit,
}

/// Why a client's connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow(pub(crate) &'static str);

/// Who has to do something next so that an exchange goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is no exchange.
    Nobody,
    /// The client has to send more of its body.
    Upload,
    /// The upstream has to take more of the request, or to begin its answer.
    Upstream,
    /// The upstream has to go on with its answer.
    Answer,
    /// The client has to take more of the answer.
    Download,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(
        stream: TcpStream,
        address: SocketAddr,
        trusted: impl FnOnce(IpAddr) -> bool,
        clock: &Clock,
        permit: OwnedSemaphorePermit,
    ) -> Rc<Self> {
        let address = address.ip().to_canonical();
        let forwarded_for = HeaderValue::try_from(address.to_string())
            .expect("an IP address has only visible characters");
        Rc::new(Self {
            socket: Arc::new(Socket::new(stream, clock)),
            clock: clock.clone(),
            address,
            forwarded_for,
            trusted: trusted(address),
            cut_short: Cell::new(false),
            broke_off: Cell::new(false),
            requests: Cell::new(0),
            turn: Cell::new(Turn::Nobody),
            turned: Cell::new(clock.now()),
            overdue: Cell::new(false),
            alarm: Cell::new(None),
            _permit: permit,
        })
    }

    /// A request's head has arrived.
    pub(crate) fn request_begins(&self) {
        self.requests.set(self.requests.get() + 1);
        self.cut_short.set(false);
        self.broke_off.set(false);
        self.socket.set(Pace::Busy);
    }

    /// The answer's last byte was handed to the connection.
    pub(crate) fn answer_ends(&self) {
        self.turn_to(Turn::Nobody);
        self.socket.set(Pace::Idle);
    }

    /// It has begun to ask for something, or is about to on a new connection.
    pub(crate) fn is_speaking(&self) -> bool {
        match self.socket.pace() {
            Pace::Head => true,
            Pace::Busy => false,
            Pace::Idle => self.socket.has_unread(),
        }
    }

    /// The request goes to the upstream, and it is the upstream's turn.
    pub(crate) fn request_goes(&self) {
        self.turn_to(Turn::Upstream);
    }

    /// More of the request's body has to come before there can be an answer.
    pub(crate) fn owes_body(&self) -> bool {
        self.turn.get() == Turn::Upload
    }

    /// The answer has begun.
    pub(crate) fn answer_begins(&self) {
        self.turn_to(Turn::Download);
    }

    /// Something has moved, and now it is this one's turn.
    fn turn_to(&self, turn: Turn) {
        self.turn.set(turn);
        self.turned.set(self.clock.now());
        self.overdue.set(false);
    }

    /// A piece of the request's body has passed, or did not when somebody was ready for it.
    pub(crate) fn upload(&self, passed: bool) {
        match (self.turn.get(), passed) {
            (Turn::Upload | Turn::Upstream, true) => self.turn_to(Turn::Upstream),
            (Turn::Upstream, false) => self.turn_to(Turn::Upload),
            // An answer that has begun may take its time, and so may the body beside it.
            (turn @ Turn::Answer, true) => self.turn_to(turn),
            _ => {}
        }
    }

    /// A piece of the answer has passed, or did not when somebody was ready for it.
    pub(crate) fn download(&self, passed: bool) {
        match (self.turn.get(), passed) {
            (_, true) => self.turn_to(Turn::Download),
            (Turn::Answer, false) => {}
            (_, false) => self.turn_to(Turn::Answer),
        }
    }

    /// Whoever's turn it is has let its time pass. Otherwise the task is woken when it does.
    pub(crate) fn poll_overdue(&self, cx: &Context<'_>) -> Poll<()> {
        if self.overdue.get() {
            return Poll::Ready(());
        }
        let waker = match self.alarm.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.alarm.set(Some(waker));
        Poll::Pending
    }

    /// Looks at the client's and the upstream's deadlines. An error when the client's is over and
    /// the connection has to go.
    pub(crate) fn sweep(&self, limits: &HttpLimits) -> Result<(), TooSlow> {
        let limit = match self.turn.get() {
            Turn::Nobody | Turn::Download => None,
            Turn::Upload => Some(limits.body_timeout),
            Turn::Upstream => Some(limits.response_timeout),
            Turn::Answer => Some(limits.read_timeout),
        };
        if limit.is_some_and(|limit| self.clock.passed(self.turned.get(), limit)) {
            self.overdue.set(true);
            if let Some(waker) = self.alarm.take() {
                waker.wake();
            }
        }
        if self.socket.is_stuck() {
            if self.socket.is_stuck_for(limits.send_timeout) {
                // What it did not take in all that time is not kept for it any longer.
                self.socket.forget_unsent();
                return Err(TooSlow("it takes nothing of its answer"));
            }
            return Ok(());
        }
        let (limit, why) = match self.socket.pace() {
            Pace::Busy => return Ok(()),
            Pace::Head => (limits.head_timeout, TooSlow("it does not finish its request's head")),
            Pace::Idle => (limits.keep_alive, TooSlow("it asks for nothing")),
        };
        if self.socket.is_at_its_pace_for(limit) { Err(why) } else { Ok(()) }
    }
}
