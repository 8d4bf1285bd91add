//! A wire between the router and an engine's socket that can be cut.

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

/// Relays connections. Those that ask for the engine's events can be cut, and stay away until the
/// wire is mended; all others pass. Its threads end with the connections.
pub struct Wire {
    events: Arc<Mutex<Events>>,
}

/// The connections that carry events.
#[derive(Default)]
struct Events {
    cut: bool,
    /// How much later they arrive.
    late: Duration,
    /// The engine's end of each, by the connection's number.
    open: HashMap<u64, UnixStream>,
}

// === impl Wire ===

impl Wire {
    /// Listens on `socket` for calls to the engine at `engine`.
    pub fn begin(socket: &Path, engine: PathBuf) -> Result<Self> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("bind {}", socket.display()))?;
        let events = Arc::new(Mutex::new(Events::default()));
        let shared = events.clone();
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                // When the engine is away, the router sees its connection end.
                let _ = UnixStream::connect(&engine)
                    .and_then(|engine| relay(number, client, engine, shared.clone()));
            }
        });
        Ok(Self { events })
    }

    /// Ends the streams of events and refuses new ones. Says how many were ended.
    pub fn cut_events(&self) -> usize {
        let mut events = lock(&self.events);
        events.cut = true;
        let open = std::mem::take(&mut events.open);
        open.values().filter(|engine| engine.shutdown(Shutdown::Both).is_ok()).count()
    }

    /// From now on, events arrive this much later than they were sent.
    pub fn delay_events(&self, late: Duration) {
        lock(&self.events).late = late;
    }

    /// Lets streams of events pass again.
    pub fn mend(&self) {
        lock(&self.events).cut = false;
    }

    /// Streams of events under way.
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
        copy(client, engine, |piece| {
            if !asks_for_events(piece) {
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

/// A request's head comes in one piece from the clients that are used here.
fn asks_for_events(piece: &[u8]) -> bool {
    let line = piece.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.starts_with(b"GET ") && line.windows(7).any(|window| window == b"/events")
}

/// Copies until either side ends or `pass` refuses a piece.
fn copy(mut from: UnixStream, mut to: UnixStream, mut pass: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !pass(&buffer[..length]) {
            // Both ways: nobody waits for an answer that does not come.
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
