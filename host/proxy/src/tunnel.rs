//! What remains of HTTP after an upgrade: bytes both ways.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use crate::{body::Exchange, client::Client, pool::Lease};

/// When one side has said its last word and the other says nothing, it is over after so long.
const HALF_OPEN: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 << 10;

/// Relays until both sides have closed. The visit is held until then.
pub(crate) async fn run(
    client: Rc<Client>,
    exchange: Rc<Exchange>,
    lease: Lease,
    ours: OnUpgrade,
    theirs: OnUpgrade,
) {
    let workload = exchange.visit.workload().name().clone();
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok((ours, theirs)) => (TokioIo::new(ours), TokioIo::new(theirs)),
        Err(error) => {
            tracing::debug!(%workload, %error, "upgrade was not completed");
            return;
        }
    };
    let moved = relay(ours, theirs).await;
    tracing::debug!(%workload, bytes = moved, "tunnel closed");
    drop((client, exchange, lease));
}

async fn relay(ours: impl AsyncRead + AsyncWrite, theirs: impl AsyncRead + AsyncWrite) -> u64 {
    let (mut our_reader, mut our_writer) = split(ours);
    let (mut their_reader, mut their_writer) = split(theirs);
    let moved = Cell::new(0);
    let up = pump(&mut our_reader, &mut their_writer, &moved);
    let down = pump(&mut their_reader, &mut our_writer, &moved);
    tokio::pin!(up, down);
    // An error on either side is the end of both; an end of one side leaves the other its word.
    tokio::select! {
        ended = &mut up => if ended.is_ok() { last_word(down, &moved).await },
        ended = &mut down => if ended.is_ok() { last_word(up, &moved).await },
    }
    moved.get()
}

async fn last_word(mut side: impl Future<Output = io::Result<()>> + Unpin, moved: &Cell<u64>) {
    loop {
        let before = moved.get();
        match tokio::time::timeout(HALF_OPEN, &mut side).await {
            Ok(_) => return,
            Err(_) if moved.get() == before => return,
            Err(_) => {}
        }
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
        moved.set(moved.get() + n as u64);
    }
}
