//! Tunnels: after a switch of protocols, bytes are relayed in both directions.

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

use super::{exchange::Exchange, pool::PooledConnection, upstream::into_socket};
use crate::{
    dial::{instance_ended, read_arrived},
    settings::HttpLimits,
};

/// Maximum time without bytes from one side after the other side has closed.
const HALF_OPEN_IDLE: Duration = Duration::from_secs(60);
/// Bytes of the relay buffer, per direction.
const BUFFER: usize = 16 << 10;

/// One direction of a tunnel.
#[derive(Default)]
struct Direction {
    /// Bytes relayed.
    relayed: Cell<u64>,
    /// Bytes have been read and are not written yet.
    writing: Cell<bool>,
}

/// One half of the upstream's socket. Once the instance has ended, nothing is written, and only
/// bytes that have already arrived are read.
struct UpstreamHalf<'a, T> {
    half: T,
    instance: &'a Instance,
}

/// Relays until both sides have closed or the instance has ended, and holds the visit until then.
pub(crate) async fn run(
    exchange: Rc<Exchange>,
    connection: PooledConnection,
    client: OnUpgrade,
    upstream: OnUpgrade,
) {
    let workload = exchange.visit.workload().name().clone();
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%workload, %error, "upgrade was not completed");
            return;
        }
    };
    let Some((upstream, read_ahead)) = into_socket(upstream) else { return };
    let limits = &exchange.connection.settings.limits;
    let instance = exchange.visit.instance();
    let bytes = relay(TokioIo::new(client), upstream, &read_ahead, limits, instance).await;
    tracing::debug!(%workload, bytes, "tunnel closed");
    drop((exchange, connection));
}

/// Returns the number of bytes relayed.
async fn relay(
    client: impl AsyncRead + AsyncWrite,
    mut upstream: TcpStream,
    read_ahead: &[u8],
    limits: &HttpLimits,
    instance: &Instance,
) -> u64 {
    let (mut client_reader, mut client_writer) = split(client);
    let (reader, writer) = upstream.split();
    let mut upstream_reader = UpstreamHalf { half: reader, instance };
    let mut upstream_writer = UpstreamHalf { half: writer, instance };
    let (to_upstream, to_client) = (Direction::default(), Direction::default());
    let relayed = async {
        let up = to_upstream.relay(&[], &mut client_reader, &mut upstream_writer);
        let down = to_client.relay(read_ahead, &mut upstream_reader, &mut client_writer);
        tokio::pin!(up, down);
        // An error on either side ends both directions; the end of one side leaves the other one
        // open.
        tokio::select! {
            ended = &mut up => if ended.is_ok() { half_open(down, &to_client).await },
            ended = &mut down => if ended.is_ok() { half_open(up, &to_upstream).await },
        }
    };
    let bytes = || to_upstream.relayed.get() + to_client.relayed.get();
    let idle = async {
        match limits.tunnel_idle {
            Some(limit) => until_still(limit, bytes, || true).await,
            None => std::future::pending().await,
        }
    };
    // The tunnel ends with the instance, once the client has received what had arrived.
    let mut ended = pin!(instance.ended());
    let mut registered = false;
    let ended = poll_fn(|cx| {
        // Polled once to be woken when the instance ends.
        if !std::mem::replace(&mut registered, true) {
            let _ = ended.as_mut().poll(cx);
        }
        match instance.has_ended() && !to_client.writing.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    tokio::select! {
        biased;
        () = relayed => {}
        // Polled after the relay, which reads the bytes that have arrived.
        () = ended => {}
        () = to_upstream.blocked(limits.response_timeout) => {}
        () = to_client.blocked(limits.send_timeout) => {}
        () = idle => {}
    }
    bytes()
}

/// Relays the direction that is left after one side has closed.
async fn half_open(relay: impl Future<Output = io::Result<()>>, direction: &Direction) {
    tokio::select! {
        _ = relay => {}
        () = until_still(HALF_OPEN_IDLE, || direction.relayed.get(), || true) => {}
    }
}

/// Resolves when `bytes` has not changed for `limit`, at the latest after twice as long, while
/// `counts` holds.
async fn until_still(limit: Duration, bytes: impl Fn() -> u64, counts: impl Fn() -> bool) {
    loop {
        let before = bytes();
        tokio::time::sleep(limit).await;
        if bytes() == before && counts() {
            return;
        }
    }
}

// === impl UpstreamHalf ===

impl AsyncRead for UpstreamHalf<'_, ReadHalf<'_>> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.half).poll_read(cx, buf) {
            Poll::Pending if self.instance.has_ended() => {
                Poll::Ready(read_arrived(self.half.as_ref(), buf))
            }
            result => result,
        }
    }
}

impl AsyncWrite for UpstreamHalf<'_, WriteHalf<'_>> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.instance.has_ended() {
            true => Poll::Ready(Err(instance_ended())),
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

// === impl Direction ===

impl Direction {
    /// Relays `read_ahead`, then everything that is read.
    async fn relay(
        &self,
        read_ahead: &[u8],
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        self.write(to, read_ahead).await?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = from.read(&mut buffer).await?;
            if n == 0 {
                return to.shutdown().await;
            }
            self.write(to, &buffer[..n]).await?;
        }
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        self.writing.set(true);
        to.write_all(bytes).await?;
        to.flush().await?;
        self.writing.set(false);
        self.relayed.set(self.relayed.get() + bytes.len() as u64);
        Ok(())
    }

    /// Resolves when a write has made no progress for `limit`.
    async fn blocked(&self, limit: Duration) {
        until_still(limit, || self.relayed.get(), || self.writing.get()).await;
    }
}
