//! A relay between the router and an engine's socket that can cut or delay event streams.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// Relays connections. Event streams can be cut, and are then refused until they are restored; other
/// requests always pass. Its threads end with the connections.
pub struct EngineRelay {
    events: Arc<Mutex<Events>>,
}

/// State of the event streams.
#[derive(Default)]
struct Events {
    cut: bool,
    /// Delay of events.
    late: Duration,
    /// Engine side of each stream, by connection number.
    open: HashMap<u64, UnixStream>,
}

// === impl EngineRelay ===

impl EngineRelay {
    /// Listens on `socket` for calls to the engine at `engine`.
    pub fn begin(socket: &Path, engine: PathBuf) -> Result<Self> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("bind {}", socket.display()))?;
        let events = Arc::new(Mutex::new(Events::default()));
        let shared = events.clone();
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                // If the engine is unreachable, the router's connection is closed.
                let _ = UnixStream::connect(&engine)
                    .and_then(|engine| relay(number, client, engine, shared.clone()));
            }
        });
        Ok(Self { events })
    }

    /// Closes the event streams and refuses new ones. Returns the number of closed streams.
    pub fn cut_events(&self) -> usize {
        let mut events = lock(&self.events);
        events.cut = true;
        let open = std::mem::take(&mut events.open);
        open.values().filter(|engine| engine.shutdown(Shutdown::Both).is_ok()).count()
    }

    /// Delays events from now on.
    pub fn delay_events(&self, late: Duration) {
        lock(&self.events).late = late;
    }

    /// Accepts event streams again.
    pub fn restore_events(&self) {
        lock(&self.events).cut = false;
    }

    /// Number of open event streams.
    pub fn streams(&self) -> usize {
        lock(&self.events).open.len()
    }
}

fn relay(
    number: u64,
    client: UnixStream,
    engine: UnixStream,
    events: Arc<Mutex<Events>>,
) -> io::Result<()> {
    let (from_engine, to_client) = (engine.try_clone()?, client.try_clone()?);
    let control = engine.try_clone()?;
    let shared = events.clone();
    thread::spawn(move || {
        copy(from_engine, to_client, |_| {
            let late = {
                let events = lock(&shared);
                if events.open.contains_key(&number) { events.late } else { Duration::ZERO }
            };
            thread::sleep(late);
            true
        });
        lock(&shared).open.remove(&number);
    });
    thread::spawn(move || {
        copy(client, engine, |chunk| {
            if !asks_for_events(chunk) {
                return true;
            }
            let mut events = lock(&events);
            if !events.cut
                && let Ok(control) = control.try_clone()
            {
                events.open.insert(number, control);
            }
            !events.cut
        });
    });
    Ok(())
}

/// Whether a chunk is a request for events. The clients used here send the headers in one chunk.
fn asks_for_events(chunk: &[u8]) -> bool {
    let line = chunk.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.starts_with(b"GET ") && line.windows(7).any(|window| window == b"/events")
}

/// Copies until either side ends or `pass` refuses a chunk.
fn copy(mut from: UnixStream, mut to: UnixStream, mut pass: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !pass(&buffer[..length]) {
            // In both directions, so that no side waits for a response.
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other direction may have closed it already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn lock(events: &Mutex<Events>) -> MutexGuard<'_, Events> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}
