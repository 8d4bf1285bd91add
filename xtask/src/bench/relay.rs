//! A relay between the router and the engine that records when start calls arrive and when they are
//! answered.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

/// A relay in front of an engine. Its threads end with the connections.
pub(super) struct Relay {
    calls: Receiver<SystemTime>,
}

/// Shared state of both directions of a connection.
struct Connection {
    starting: AtomicBool,
    calls: SyncSender<SystemTime>,
}

// === impl Relay ===

impl Relay {
    /// Listens on `socket` for calls to the engine at `engine`.
    pub(super) fn begin(socket: &Path, engine: PathBuf) -> Result<Self> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("bind {}", socket.display()))?;
        let (sender, calls) = mpsc::sync_channel(64);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // The router reports failed requests itself.
                let _ = UnixStream::connect(&engine)
                    .and_then(|engine| connect(client, engine, &sender));
            }
        });
        Ok(Self { calls })
    }

    /// Waits until the next start call is answered, and returns when it arrived at the engine's socket.
    pub(super) fn next(&mut self, limit: Duration) -> Result<SystemTime> {
        self.calls.recv_timeout(limit).context("wait for a start call at the engine")
    }
}

fn connect(
    client: UnixStream,
    engine: UnixStream,
    calls: &SyncSender<SystemTime>,
) -> io::Result<()> {
    let connection =
        Arc::new(Connection { starting: AtomicBool::new(false), calls: calls.clone() });
    let (asked, answered) = mpsc::sync_channel(1);
    let there = (client.try_clone()?, engine.try_clone()?, Arc::clone(&connection));
    thread::spawn(move || {
        let (client, engine, connection) = there;
        copy(client, engine, |chunk| {
            let head = String::from_utf8_lossy(&chunk[..chunk.len().min(256)]);
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("POST ") && line.contains("/start ") {
                let _ = asked.try_send(SystemTime::now());
                connection.starting.store(true, Ordering::Release);
            }
        });
    });
    thread::spawn(move || {
        copy(engine, client, |_| {
            if connection.starting.swap(false, Ordering::AcqRel)
                && let Ok(asked) = answered.recv()
            {
                let _ = connection.calls.try_send(asked);
            }
        });
    });
    Ok(())
}

fn copy(mut from: UnixStream, mut to: UnixStream, mut inspect: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        inspect(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other direction may have closed it already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
