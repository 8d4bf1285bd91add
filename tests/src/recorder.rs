//! A witness between the router and an engine's socket: it keeps what was asked for, and can end a
//! connection at a request.

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

/// Relays connections and keeps what they ask for. Its threads end with the connections.
pub struct Recorder {
    shared: Arc<Shared>,
    socket: PathBuf,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `POST`
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// It had a body.
    pub body: bool,
}

/// When a connection ends instead of being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The engine never hears of the request.
    Before,
    /// The engine does what it was asked for, and its answer is lost.
    After,
}

struct Shared {
    engine: PathBuf,
    asked: Mutex<Vec<Asked>>,
    /// At the first request like this.
    cut: Mutex<Option<(Likeness, Cut)>>,
}

/// Whether a request is the one that is meant.
type Likeness = Box<dyn Fn(&Asked) -> bool + Send>;

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
                // A client that goes away, or an engine, is what the other sees as well.
                thread::spawn(move || serve(client, &served).ok());
            }
        });
        Ok(Self { shared, socket: socket.to_owned() })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How many requests were such.
    pub fn count(&self, such: impl Fn(&Asked) -> bool) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| such(asked)).count()
    }

    /// Ends the connection at the next request that is such, once.
    pub fn cut(&self, how: Cut, such: impl Fn(&Asked) -> bool + Send + 'static) {
        *lock(&self.shared.cut) = Some((Box::new(such), how));
    }

    /// Whether a cut was asked for that has not come.
    pub fn is_to_cut(&self) -> bool {
        lock(&self.shared.cut).is_some()
    }
}

// === impl Asked ===

impl Asked {
    /// Whether a rule allows it.
    pub fn fits(&self, rule: &str) -> bool {
        let query = self.query.iter().flat_map(|query| ["?", query]);
        let path: String = [self.path.as_str()].into_iter().chain(query).collect();
        let (Ok(rule), Ok(path)) = (rule.parse::<Rule>(), NormalizedPath::parse(&path)) else {
            return false;
        };
        rule.allows(&self.method, &path, self.body)
    }
}

/// Request by request, as HTTP/1.1 has them: with a length or without a body.
fn serve(client: UnixStream, shared: &Shared) -> io::Result<()> {
    let engine = UnixStream::connect(&shared.engine)?;
    let silent = Arc::new(AtomicBool::new(false));
    let (from, to, hushed) = (engine.try_clone()?, client.try_clone()?, silent.clone());
    thread::spawn(move || copy(from, to, &hushed));
    let mut reader = BufReader::new(client.try_clone()?);
    let outcome = relay(&mut reader, &engine, shared, &silent);
    if !silent.load(Ordering::SeqCst) {
        let _ = engine.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }
    outcome
}

fn relay(
    client: &mut BufReader<UnixStream>,
    mut engine: &UnixStream,
    shared: &Shared,
    silent: &AtomicBool,
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
        let asked = Asked { method, path, query, body: length > 0 };
        let mut cut = lock(&shared.cut);
        let how = cut.take_if(|(such, _)| such(&asked)).map(|(_, how)| how);
        drop(cut);
        lock(&shared.asked).push(asked);
        match how {
            Some(Cut::Before) => return Ok(()),
            Some(Cut::After) => silent.store(true, Ordering::SeqCst),
            None => {}
        }
        engine.write_all(head.as_bytes())?;
        engine.write_all(&body)?;
    }
}

/// Until the end, or until the first word of an answer that is to be lost.
fn copy(mut from: UnixStream, mut to: UnixStream, silent: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if silent.load(Ordering::SeqCst) || to.write_all(&buffer[..size]).is_err() {
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
    fn a_request_fits_the_rules_that_allow_it() {
        let create = Asked {
            method: "POST".to_owned(),
            path: "/v1.41/containers/create".to_owned(),
            query: Some("name=web".to_owned()),
            body: true,
        };
        assert!(create.fits("POST+body /*/containers/create?name=*"));
        assert!(!create.fits("POST+body /*/containers/create"));
        assert!(!create.fits("POST /*/containers/create?name=*"));
    }
}
