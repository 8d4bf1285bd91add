//! One client's connection: its socket as hyper reads and writes it, and what is known of it.

use std::{
    cell::Cell,
    io::{self, IoSlice, Read},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker, ready},
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
    /// Since when the upstream owes a response head, and who is to be woken when it is overdue.
    owed: Cell<Option<Tick>>,
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
    pace: AtomicU8,
    since: AtomicU32,
}

/// What hyper reads and writes.
pub(crate) struct ClientIo(pub(crate) Arc<Socket>);

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
                pace: AtomicU8::new(Pace::Head as u8),
                since: AtomicU32::new(clock.now().to_raw()),
                clock: clock.clone(),
            }),
            address,
            forwarded_for,
            trusted: trusted(address),
            cut_short: Cell::new(false),
            broke_off: Cell::new(false),
            requests: Cell::new(0),
            owed: Cell::new(None),
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
        self.owe(false);
        self.socket.set(Pace::Idle);
    }

    /// From now on the upstream owes a response head, or no longer.
    pub(crate) fn owe(&self, owes: bool) {
        self.owed.set(owes.then(|| self.socket.clock.now()));
        self.overdue.set(false);
    }

    /// The response head did not come in time. Otherwise the task is woken when it does not.
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

    /// Looks at the client's and the upstream's deadlines. False when the client's is over and
    /// the connection has to go.
    pub(crate) fn sweep(&self, limits: &HttpLimits) -> bool {
        let clock = &self.socket.clock;
        if let Some(since) = self.owed.get()
            && clock.passed(since, limits.response_timeout)
        {
            self.overdue.set(true);
            if let Some(waker) = self.alarm.take() {
                waker.wake();
            }
        }
        let limit = match self.socket.pace() {
            Pace::Busy => return true,
            Pace::Head => limits.head_timeout,
            Pace::Idle => limits.keep_alive,
        };
        !clock.passed(Tick::from_raw(self.socket.since.load(Ordering::Relaxed)), limit)
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
        if self.pace() == Pace::Idle {
            self.set(Pace::Head);
        }
    }

    /// A client that takes its answer slowly is not idle.
    fn has_written(&self) {
        if self.pace() == Pace::Idle {
            self.since.store(self.clock.now().to_raw(), Ordering::Relaxed);
        }
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
            ready!(socket.stream.poll_read_ready(cx))?;
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
            ready!(socket.stream.poll_write_ready(cx))?;
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
