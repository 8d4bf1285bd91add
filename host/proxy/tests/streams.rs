//! Bodies are streamed with backpressure: the router reads no more than the slow side takes. This test
//! is alone in its process because it measures the process's memory.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Backend, GET, OK, Plan, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

const SIZE: usize = 64 << 20;
const PIECE: usize = 64 << 10;
/// Maximum bytes in the buffers of both sockets and the router.
const BUFFERED: usize = 32 << 20;

/// The peak resident memory of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Writes until every byte is written or half a second has passed without progress.
async fn fill(writer: &mut (impl AsyncWriteExt + Unpin), piece: &[u8]) -> usize {
    let mut written = 0;
    while written < SIZE {
        let write = writer.write(&piece[..piece.len().min(SIZE - written)]);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(n) => written += n.unwrap(),
            Err(_) => break,
        }
    }
    written
}

async fn drain(reader: &mut (impl AsyncReadExt + Unpin), size: usize) {
    let mut scrap = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let room = left.min(PIECE);
        let n = within(reader.read(&mut scrap[..room])).await.unwrap();
        assert!(n > 0, "{left} bytes are missing");
        assert!(scrap[..n].iter().all(|&b| b == b'z'));
        left -= n;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_are_streamed_in_both_directions_without_buffering() {
    let (stalled, mut stalls) = tokio::sync::mpsc::channel(1);
    let client_is_stuck = Arc::new(Notify::new());
    let gate = client_is_stuck.clone();
    let backend = Backend::new(move |mut wire| {
        let (stalled, go_on) = (stalled.clone(), gate.clone());
        async move {
            let piece = vec![b'z'; PIECE];
            while let Some(head) = wire.try_head().await {
                if head.starts_with("GET") {
                    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
                    let written = fill(&mut wire.0, &piece).await;
                    stalled.send(written).await.unwrap();
                    for _ in 0..(SIZE - written) / PIECE {
                        wire.send(&piece).await;
                    }
                    wire.send(&piece[..(SIZE - written) % PIECE]).await;
                } else {
                    go_on.notified().await;
                    drain(&mut wire.0, SIZE).await;
                    wire.send(OK).await;
                }
            }
        }
    })
    .await;
    let router = Plan::new(backend.address).run();
    let before = peak();

    // Download: the client reads nothing at first.
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    let written = within(stalls.recv()).await.unwrap();
    assert!(
        written < BUFFERED,
        "{written} bytes left the backend although the client did not read"
    );
    drain(&mut wire.0, SIZE).await;

    // Upload: the backend reads nothing at first.
    wire.send(format!("PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let piece = vec![b'z'; PIECE];
    let written = fill(&mut wire.0, &piece).await;
    assert!(
        written < BUFFERED,
        "{written} bytes left the client although the backend did not read"
    );
    client_is_stuck.notify_one();
    for _ in 0..(SIZE - written) / PIECE {
        wire.send(&piece).await;
    }
    wire.send(&piece[..(SIZE - written) % PIECE]).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    let grown = peak() - before;
    assert!(grown < BUFFERED, "{grown} bytes of memory for streamed bodies");
}
