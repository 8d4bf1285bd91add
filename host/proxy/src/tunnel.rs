//! What remains of HTTP after an upgrade: bytes both ways.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use drowse_core::Instance;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use crate::{
    body::Exchange, client::Client, door::Door, pool::Lease, settings::HttpLimits, upstream,
};

/// When one side has said its last word and the other says nothing, it is over after so long.
const HALF_OPEN: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 << 10;

/// One direction of a tunnel.
#[derive(Default)]
struct Way {
    /// Bytes that have passed.
    moved: Cell<u64>,
    /// A piece was read and is not written yet.
    writing: Cell<bool>,
}

/// The upstream's side, as long as its instance is there.
struct Theirs<'a, T> {
    half: T,
    instance: &'a Instance,
}

/// Relays until both sides have closed or the instance has ended. The visit is held until then.
pub(crate) async fn run(
    door: Rc<Door>,
    client: Rc<Client>,
    exchange: Rc<Exchange>,
    lease: Lease,
    ours: OnUpgrade,
    theirs: OnUpgrade,
) {
    let workload = exchange.visit.workload().name().clone();
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%workload, %error, "upgrade was not completed");
            return;
        }
    };
    let Some((theirs, first)) = upstream::bare(theirs) else { return };
    let instance = exchange.visit.instance();
    let moved = relay(TokioIo::new(ours), theirs, &first, &door.limits, instance).await;
    tracing::debug!(%workload, bytes = moved, "tunnel closed");
    drop((client, exchange, lease));
}

async fn relay(
    ours: impl AsyncRead + AsyncWrite,
    mut theirs: TcpStream,
    first: &[u8],
    limits: &HttpLimits,
    instance: &Instance,
) -> u64 {
    let (mut our_reader, mut our_writer) = split(ours);
    let (reader, writer) = theirs.split();
    let mut their_reader = Theirs { half: reader, instance };
    let mut their_writer = Theirs { half: writer, instance };
    let (upwards, downwards) = (Way::default(), Way::default());
    let relayed = async {
        let up = pump(&[], &mut our_reader, &mut their_writer, &upwards);
        let down = pump(first, &mut their_reader, &mut our_writer, &downwards);
        tokio::pin!(up, down);
        // An error on either side is the end of both; an end of one side leaves the other its
        // word.
        tokio::select! {
            ended = &mut up => if ended.is_ok() { last_word(down, &downwards).await },
            ended = &mut down => if ended.is_ok() { last_word(up, &upwards).await },
        }
    };
    let moved = || upwards.moved.get() + downwards.moved.get();
    let idle = async {
        match limits.tunnel_idle {
            Some(limit) => until_still(limit, moved, || true).await,
            None => std::future::pending().await,
        }
    };
    // The end of the instance is the end of the tunnel, once the client has what had arrived.
    let mut ended = pin!(instance.ended());
    let mut waits = false;
    let ended = poll_fn(|cx| {
        if !std::mem::replace(&mut waits, true) {
            let _ = ended.as_mut().poll(cx);
        }
        match instance.has_ended() && !downwards.writing.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    tokio::select! {
        biased;
        () = relayed => {}
        // After the relay, which takes what has arrived.
        () = ended => {}
        () = upwards.stuck(limits.response_timeout) => {}
        () = downwards.stuck(limits.send_timeout) => {}
        () = idle => {}
    }
    moved()
}

async fn last_word(side: impl Future<Output = io::Result<()>>, way: &Way) {
    tokio::select! {
        _ = side => {}
        () = until_still(HALF_OPEN, || way.moved.get(), || true) => {}
    }
}

/// Resolves when `moved` has stayed the same for `limit`, at the latest after twice as long, and
/// that counts.
async fn until_still(limit: Duration, moved: impl Fn() -> u64, counts: impl Fn() -> bool) {
    loop {
        let before = moved();
        tokio::time::sleep(limit).await;
        if moved() == before && counts() {
            return;
        }
    }
}

/// Moves everything, first what was read before.
async fn pump(
    first: &[u8],
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: &Way,
) -> io::Result<()> {
    way.write(to, first).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        way.write(to, &buffer[..n]).await?;
    }
}

// === impl Theirs ===

impl AsyncRead for Theirs<'_, ReadHalf<'_>> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.half).poll_read(cx, buf) {
            Poll::Pending if self.instance.has_ended() => {
                Poll::Ready(upstream::read_rest(self.half.as_ref(), buf))
            }
            result => result,
        }
    }
}

impl AsyncWrite for Theirs<'_, WriteHalf<'_>> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.instance.has_ended() {
            true => Poll::Ready(Err(upstream::has_ended())),
            false => Pin::new(&mut self.half).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(cx)
    }
}

// === impl Way ===

impl Way {
    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
        self.writing.set(true);
        to.write_all(piece).await?;
        to.flush().await?;
        self.writing.set(false);
        self.moved.set(self.moved.get() + piece.len() as u64);
        Ok(())
    }

    /// Resolves when a piece has waited for so long to be taken.
    async fn stuck(&self, limit: Duration) {
        until_still(limit, || self.moved.get(), || self.writing.get()).await;
    }
}
