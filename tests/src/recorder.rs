//! A relay between the router and an engine's socket that records requests, and can close a connection
//! at a request.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use drowse_provider_rules::{NormalizedPath, Rule};

/// Relays connections and records their requests. Its threads end with the connections.
pub struct Recorder {
    shared: Arc<Shared>,
    socket: PathBuf,
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// `POST`
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// True if it had a body.
    pub body: bool,
}

/// When a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the request is forwarded to the engine.
    Before,
    /// After the request is forwarded; the engine's response is dropped.
    After,
}

struct Shared {
    engine: PathBuf,
    asked: Mutex<Vec<RecordedRequest>>,
    /// Pending cut, at the first request that matches.
    cut: Mutex<Option<(Matcher, Cut)>>,
}

/// Predicate that selects a request.
type Matcher = Box<dyn Fn(&RecordedRequest) -> bool + Send>;

// === impl Recorder ===

impl Recorder {
    /// Listens on `socket` for calls to the engine at `engine`.
    pub fn begin(socket: &Path, engine: PathBuf) -> Result<Self> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("bind {}", socket.display()))?;
        let (asked, cut) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { engine, asked, cut });
        let served = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let served = served.clone();
                // A disconnect on one side closes the other.
                thread::spawn(move || serve(client, &served).ok());
            }
        });
        Ok(Self { shared, socket: socket.to_owned() })
    }

    /// Path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.asked).clone()
    }

    /// Number of requests that match.
    pub fn count(&self, matches: impl Fn(&RecordedRequest) -> bool) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| matches(asked)).count()
    }

    /// Closes the connection at the next request that matches, once.
    pub fn cut(&self, how: Cut, matches: impl Fn(&RecordedRequest) -> bool + Send + 'static) {
        *lock(&self.shared.cut) = Some((Box::new(matches), how));
    }

    /// Returns whether a cut is pending.
    pub fn is_to_cut(&self) -> bool {
        lock(&self.shared.cut).is_some()
    }
}

// === impl RecordedRequest ===

impl RecordedRequest {
    /// Returns whether a rule permits it.
    pub fn matches_rule(&self, rule: &str) -> bool {
        let query = self.query.iter().flat_map(|query| ["?", query]);
        let path: String = [self.path.as_str()].into_iter().chain(query).collect();
        let (Ok(rule), Ok(path)) = (rule.parse::<Rule>(), NormalizedPath::parse(&path)) else {
            return false;
        };
        rule.allows(&self.method, &path, self.body)
    }
}

/// Relays a connection request by request: HTTP/1.1 with a content length or without a body.
fn serve(client: UnixStream, shared: &Shared) -> io::Result<()> {
    let engine = UnixStream::connect(&shared.engine)?;
    let dropping = Arc::new(AtomicBool::new(false));
    let (from, to, dropping_responses) =
        (engine.try_clone()?, client.try_clone()?, dropping.clone());
    thread::spawn(move || copy(from, to, &dropping_responses));
    let mut reader = BufReader::new(client.try_clone()?);
    let outcome = relay(&mut reader, &engine, shared, &dropping);
    if !dropping.load(Ordering::SeqCst) {
        let _ = engine.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }
    outcome
}

fn relay(
    client: &mut BufReader<UnixStream>,
    mut engine: &UnixStream,
    shared: &Shared,
    dropping: &AtomicBool,
) -> io::Result<()> {
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let began = head.len();
            if client.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[began..].trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(("content-length", value)) =
                line.to_ascii_lowercase().split_once(':').map(|(name, value)| (name, value.trim()))
            {
                length = value.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body)?;
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.to_owned(), None),
        };
        let asked = RecordedRequest { method, path, query, body: length > 0 };
        let mut cut = lock(&shared.cut);
        let how = cut.take_if(|(matches, _)| matches(&asked)).map(|(_, how)| how);
        drop(cut);
        lock(&shared.asked).push(asked);
        match how {
            Some(Cut::Before) => return Ok(()),
            Some(Cut::After) => dropping.store(true, Ordering::SeqCst),
            None => {}
        }
        engine.write_all(head.as_bytes())?;
        engine.write_all(&body)?;
    }
}

/// Copies until the end, or until a response that is to be dropped.
fn copy(mut from: UnixStream, mut to: UnixStream, dropping: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if dropping.load(Ordering::SeqCst) || to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_matches_the_rules_that_permit_it() {
        let create = RecordedRequest {
            method: "POST".to_owned(),
            path: "/v1.41/containers/create".to_owned(),
            query: Some("name=web".to_owned()),
            body: true,
        };
        assert!(create.matches_rule("POST+body /*/containers/create?name=*"));
        assert!(!create.matches_rule("POST+body /*/containers/create"));
        assert!(!create.matches_rule("POST /*/containers/create?name=*"));
    }
}
