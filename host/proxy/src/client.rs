//! One client's connection: its socket as hyper reads and writes it, and what is known of it.

use std::{
    cell::Cell,
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::HeaderValue;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use crate::{
    clock::{Clock, Tick},
    settings::HttpLimits,
};

/// After an answer that came before the end of the request, what still arrives is thrown away for
/// so long; closing at once would reset the connection and the client might lose the answer.
const LINGER: Duration = Duration::from_secs(5);

/// At most so many bytes are read at once when readiness is not known.
const UNANNOUNCED: usize = 32 << 10;
/// Nothing waits to be written.
const FLOWS: u32 = u32::MAX;

/// One client, as long as its connection or tunnel.
pub(crate) struct Client {
    pub(crate) socket: Arc<Socket>,
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

/// The socket, shared by hyper, which owns reading and writing, and by whoever waits for the
/// client to hang up. Used on the thread of its runtime alone, where readiness cannot change
/// between a call and the next.
pub(crate) struct Socket {
    stream: TcpStream,
    clock: Clock,
    /// Bytes may be there although readiness was cleared.
    unread: AtomicBool,
    /// hyper waits for bytes, so that it will see the end of them.
    watched: AtomicBool,
    pace: AtomicU8,
    since: AtomicU32,
    /// Since when the client takes nothing of what is to be written, or `FLOWS`.
    stuck: AtomicU32,
}

/// Why a client's connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow(pub(crate) &'static str);

/// What hyper reads and writes.
pub(crate) struct ClientIo(pub(crate) Arc<Socket>);

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

/// What the client is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Finish a request's head.
    Head = 0,
    /// Nothing: a request is being served.
    Busy = 1,
    /// Begin a request, or close.
    Idle = 2,
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
            socket: Arc::new(Socket {
                stream,
                unread: AtomicBool::new(false),
                watched: AtomicBool::new(false),
                pace: AtomicU8::new(Pace::Head as u8),
                since: AtomicU32::new(clock.now().to_raw()),
                stuck: AtomicU32::new(FLOWS),
                clock: clock.clone(),
            }),
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
        self.turned.set(self.socket.clock.now());
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
        let clock = &self.socket.clock;
        let limit = match self.turn.get() {
            Turn::Nobody | Turn::Download => None,
            Turn::Upload => Some(limits.body_timeout),
            Turn::Upstream => Some(limits.response_timeout),
            Turn::Answer => Some(limits.read_timeout),
        };
        if limit.is_some_and(|limit| clock.passed(self.turned.get(), limit)) {
            self.overdue.set(true);
            if let Some(waker) = self.alarm.take() {
                waker.wake();
            }
        }
        let passed = |since: &AtomicU32, limit| {
            clock.passed(Tick::from_raw(since.load(Ordering::Relaxed)), limit)
        };
        if self.socket.is_stuck() {
            if passed(&self.socket.stuck, limits.send_timeout) {
                // What it did not take in all that time is not kept for it any longer.
                let _ = SockRef::from(&self.socket.stream).set_linger(Some(Duration::ZERO));
                return Err(TooSlow("it takes nothing of its answer"));
            }
            return Ok(());
        }
        let (limit, why) = match self.socket.pace() {
            Pace::Busy => return Ok(()),
            Pace::Head => (limits.head_timeout, TooSlow("it does not finish its request's head")),
            Pace::Idle => (limits.keep_alive, TooSlow("it asks for nothing")),
        };
        if passed(&self.socket.since, limit) { Err(why) } else { Ok(()) }
    }
}

// === impl Socket ===

impl Socket {
    /// Resolves when the client has closed its side. A client that closes only its writing side
    /// before the answer counts as gone. An end that comes after more unread bytes than the
    /// kernel takes has not arrived yet and cannot be seen.
    pub(crate) async fn gone(self: Arc<Self>) {
        loop {
            match self.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {
                    self.clear();
                    self.unread.store(true, Ordering::Relaxed);
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// hyper notices when the client hangs up. It does not while bytes wait that it has no use
    /// for yet: a body that goes nowhere, or the next request.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// The kernel holds bytes that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|count| count > 0)
    }

    /// Throws away what still arrives until the client closes, for a while.
    pub(crate) async fn linger(&self) {
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        let mut scrap = vec![0; 16 << 10];
        let drain = async {
            loop {
                match (&*SockRef::from(&self.stream)).read(&mut scrap) {
                    Ok(0) => return,
                    Ok(_) => tokio::task::consume_budget().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.clear();
                        if self.stream.readable().await.is_err() {
                            return;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }

    /// Says that there is nothing to read until the kernel reports anew.
    fn clear(&self) {
        let _: io::Result<()> =
            self.stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }

    fn pace(&self) -> Pace {
        match self.pace.load(Ordering::Relaxed) {
            0 => Pace::Head,
            1 => Pace::Busy,
            _ => Pace::Idle,
        }
    }

    fn set(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Relaxed);
        self.since.store(self.clock.now().to_raw(), Ordering::Relaxed);
    }

    fn has_read(&self) {
        self.watched.store(false, Ordering::Relaxed);
        if self.pace() == Pace::Idle {
            self.set(Pace::Head);
        }
    }

    /// A client that takes its answer slowly is not idle, and need not finish its next request
    /// meanwhile.
    fn has_written(&self) {
        self.stuck.store(FLOWS, Ordering::Relaxed);
        if self.pace() != Pace::Busy {
            self.since.store(self.clock.now().to_raw(), Ordering::Relaxed);
        }
    }

    /// The kernel takes no more for the client at the moment.
    fn has_not_written(&self) {
        if !self.is_stuck() {
            self.stuck.store(self.clock.now().to_raw(), Ordering::Relaxed);
        }
    }

    /// Something waits to be written.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) != FLOWS
    }

    /// Reads although readiness was cleared by `gone`.
    fn read_unannounced(&self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let room = buf.remaining().min(UNANNOUNCED);
        let socket = SockRef::from(&self.stream);
        match (&*socket).read(buf.initialize_unfilled_to(room)) {
            Ok(n) => {
                buf.advance(n);
                if n > 0 {
                    self.has_read();
                }
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unread.store(false, Ordering::Relaxed);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_unannounced(buf),
            Err(error) => Some(Err(error)),
        }
    }
}

// === impl ClientIo ===

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &*self.0;
        if socket.unread.load(Ordering::Relaxed)
            && let Some(result) = socket.read_unannounced(buf)
        {
            return Poll::Ready(result);
        }
        let room = buf.remaining();
        loop {
            let Poll::Ready(ready) = socket.stream.poll_read_ready(cx) else {
                socket.watched.store(true, Ordering::Relaxed);
                return Poll::Pending;
            };
            ready?;
            match socket.stream.try_read_buf(buf) {
                Ok(n) => {
                    // A short read has emptied the socket; the next call need not ask the kernel.
                    if 0 < n && n < room {
                        socket.clear();
                    }
                    if n > 0 {
                        socket.has_read();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }
}

impl ClientIo {
    fn write(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = &*self.0;
        loop {
            let Poll::Ready(ready) = socket.stream.poll_write_ready(cx) else {
                socket.has_not_written();
                return Poll::Pending;
            };
            ready?;
            match attempt(&socket.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    socket.has_written();
                    return Poll::Ready(result);
                }
            }
        }
    }
}
