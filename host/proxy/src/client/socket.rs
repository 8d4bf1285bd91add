//! A client's socket: I/O for hyper, and the state that deadlines depend on.

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

/// How long bytes are read and discarded after a response that ended before its request. Closing
/// at once would reset the connection, and the client might lose the response.
const LINGER: Duration = Duration::from_secs(5);

/// Maximum bytes of one read when readiness is not known.
const MAX_UNANNOUNCED_READ: usize = 32 << 10;
/// Value of `blocked_since` while writes make progress.
const NOT_BLOCKED: u32 = u32::MAX;

/// The socket, shared by hyper, which reads and writes, and by futures that wait for the client to
/// disconnect. Used only on the thread of its runtime, where readiness cannot change between two
/// calls.
pub(crate) struct ClientSocket {
    stream: TcpStream,
    clock: Clock,
    /// There may be bytes to read although readiness was cleared.
    unread: AtomicBool,
    /// hyper waits for readiness, so it notices the end of the stream.
    watched: AtomicBool,
    state: AtomicU8,
    /// The tick since which the state holds.
    since: AtomicU32,
    /// The tick since which the client does not read, or [`NOT_BLOCKED`].
    blocked_since: AtomicU32,
}

/// The I/O object for hyper.
pub(crate) struct ClientIo(pub(crate) Arc<ClientSocket>);

/// The client's next expected action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Finish a request's head.
    SendingHead = 0,
    /// Nothing: an exchange is in progress.
    AwaitingResponse = 1,
    /// Begin a request, or close.
    Idle = 2,
}

// === impl ClientSocket ===

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, clock: &Clock) -> Self {
        Self {
            stream,
            unread: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            state: AtomicU8::new(ClientState::SendingHead as u8),
            since: AtomicU32::new(clock.now().to_raw()),
            blocked_since: AtomicU32::new(NOT_BLOCKED),
            clock: clock.clone(),
        }
    }

    /// Resolves when the client has closed its side of the connection. A client that closes only
    /// its writing side before the response counts as disconnected. The end of the stream is not
    /// noticed while more unread bytes precede it than the kernel buffers.
    pub(crate) async fn closed(self: Arc<Self>) {
        loop {
            match self.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {
                    self.clear_readiness();
                    self.unread.store(true, Ordering::Relaxed);
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// hyper notices when the client disconnects. It does not while unread bytes precede the end:
    /// a body that the upstream does not read, or a pipelined request.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// The kernel holds unread bytes.
    pub(crate) fn has_unread(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|count| count > 0)
    }

    /// Reads and discards bytes until the client closes, at most for [`LINGER`].
    pub(crate) async fn linger(&self) {
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        let mut discarded = vec![0; 16 << 10];
        let drain = async {
            loop {
                match (&*SockRef::from(&self.stream)).read(&mut discarded) {
                    Ok(0) => return,
                    Ok(_) => tokio::task::consume_budget().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.clear_readiness();
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

    /// Clears read readiness until the kernel reports it again.
    fn clear_readiness(&self) {
        let _: io::Result<()> =
            self.stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }

    pub(crate) fn state(&self) -> ClientState {
        match self.state.load(Ordering::Relaxed) {
            0 => ClientState::SendingHead,
            1 => ClientState::AwaitingResponse,
            _ => ClientState::Idle,
        }
    }

    pub(crate) fn set_state(&self, state: ClientState) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.since.store(self.clock.now().to_raw(), Ordering::Relaxed);
    }

    fn has_read(&self) {
        self.watched.store(false, Ordering::Relaxed);
        if self.state() == ClientState::Idle {
            self.set_state(ClientState::SendingHead);
        }
    }

    /// A client that still reads a response is not idle, and its next request is not late.
    fn has_written(&self) {
        self.blocked_since.store(NOT_BLOCKED, Ordering::Relaxed);
        if self.state() != ClientState::AwaitingResponse {
            self.since.store(self.clock.now().to_raw(), Ordering::Relaxed);
        }
    }

    /// The kernel's send buffer is full.
    fn has_not_written(&self) {
        if !self.is_write_blocked() {
            self.blocked_since.store(self.clock.now().to_raw(), Ordering::Relaxed);
        }
    }

    /// Bytes wait for the client to read.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.blocked_since.load(Ordering::Relaxed) != NOT_BLOCKED
    }

    /// Bytes have waited for the client to read for longer than `limit`.
    pub(crate) fn is_write_blocked_for(&self, limit: Duration) -> bool {
        self.is_write_blocked() && self.has_passed(&self.blocked_since, limit)
    }

    /// The client's state has not changed for longer than `limit`.
    pub(crate) fn has_been_in_state_for(&self, limit: Duration) -> bool {
        self.has_passed(&self.since, limit)
    }

    fn has_passed(&self, since: &AtomicU32, limit: Duration) -> bool {
        self.clock.passed(Tick::from_raw(since.load(Ordering::Relaxed)), limit)
    }

    /// Unsent bytes are discarded when the connection is closed.
    pub(crate) fn discard_unsent(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads although [`closed`](Self::closed) has cleared readiness.
    fn read_unannounced(&self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let room = buf.remaining().min(MAX_UNANNOUNCED_READ);
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
                    // A short read has emptied the socket, which saves a system call.
                    if 0 < n && n < room {
                        socket.clear_readiness();
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
