//! A client's socket, as hyper reads and writes it.

use std::{
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::clock::{Clock, Tick};

/// After an answer that came before the end of the request, what still arrives is thrown away for
/// so long; closing at once would reset the connection and the client might lose the answer.
const LINGER: Duration = Duration::from_secs(5);

/// At most so many bytes are read at once when readiness is not known.
const UNANNOUNCED: usize = 32 << 10;
/// In place of the moment since which a client is stuck.
const NOT_STUCK: u32 = u32::MAX;

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
    /// Since when the client takes nothing of what is to be written, or [`NOT_STUCK`].
    stuck: AtomicU32,
}

/// What hyper reads and writes.
pub(crate) struct ClientIo(pub(crate) Arc<Socket>);

/// What the client is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Finish a request's head.
    Head = 0,
    /// Nothing: a request is being served.
    Busy = 1,
    /// Begin a request, or close.
    Idle = 2,
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(stream: TcpStream, clock: &Clock) -> Self {
        Self {
            stream,
            unread: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            pace: AtomicU8::new(Pace::Head as u8),
            since: AtomicU32::new(clock.now().to_raw()),
            stuck: AtomicU32::new(NOT_STUCK),
            clock: clock.clone(),
        }
    }

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

    pub(super) fn pace(&self) -> Pace {
        match self.pace.load(Ordering::Relaxed) {
            0 => Pace::Head,
            1 => Pace::Busy,
            _ => Pace::Idle,
        }
    }

    pub(super) fn set(&self, pace: Pace) {
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
        self.stuck.store(NOT_STUCK, Ordering::Relaxed);
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
        self.stuck.load(Ordering::Relaxed) != NOT_STUCK
    }

    /// Something has waited to be written for longer than this.
    pub(super) fn is_stuck_for(&self, limit: Duration) -> bool {
        self.is_stuck() && self.has_passed(&self.stuck, limit)
    }

    /// Nothing has changed in what the client is expected to do for longer than this.
    pub(super) fn is_at_its_pace_for(&self, limit: Duration) -> bool {
        self.has_passed(&self.since, limit)
    }

    fn has_passed(&self, since: &AtomicU32, limit: Duration) -> bool {
        self.clock.passed(Tick::from_raw(since.load(Ordering::Relaxed)), limit)
    }

    /// What the client has not taken is thrown away when the connection is closed.
    pub(super) fn forget_unsent(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
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
