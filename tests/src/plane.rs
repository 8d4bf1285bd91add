//! A control plane as the `http-waker` provider expects one by default: servers that are started
//! and stopped by requests, and tell their state and address. Those that the provider can be told
//! of are there, too: a list, and requests that pause, resume and kill.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;

use crate::{Hello, Process};

/// The header with the key that callers need.
pub const KEY: (&str, &str) = ("X-API-Key", "a key that the guest never sees");

/// Serves one server, `lobby`, whose program is the example backend. The backend ends
/// with this, the threads with the test's process.
pub struct Plane {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    backend: Hello,
    running: Option<Process>,
    paused: bool,
    asked: Vec<String>,
    /// How often the state still says `starting` after a start.
    slow: u32,
    /// What a start is answered with instead of being done.
    refuses: Option<(u16, String)>,
}

// === impl Plane ===

impl Plane {
    /// Listens on a free port of this machine's own address.
    pub fn begin(hello: &Hello) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            backend: hello.clone(),
            running: None,
            paused: false,
            asked: Vec::new(),
            slow: 0,
            refuses: None,
        }));
        let served = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                // A client that goes away is no concern of the others.
                thread::spawn(move || serve(&client, &served).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// Its address for the endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, as `POST /servers/lobby/start`.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Lets the state say `starting` so often after each start.
    pub fn slow(&self, looks: u32) {
        self.state().slow = looks;
    }

    /// Answers starts with this instead of doing them.
    pub fn refuse(&self, status: u16, reason: &str) {
        self.state().refuses = Some((status, reason.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let mut state = self.state();
        // What is paused hears nothing, and whoever does not is killed after a while.
        let _ = state.pause(false);
        let running = state.running.take();
        drop(state);
        drop(running);
    }
}

fn serve(client: &TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(client);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
                }
                None => break,
            };
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let key = headers.get(&KEY.0.to_ascii_lowercase()).map(String::as_str);
        let (status, json) = lock(shared).answer(&request, key == Some(KEY.1))?;
        let length = json.len();
        let head = "content-type: application/json\r\n";
        let answer = format!("HTTP/1.1 {status} .\r\n{head}content-length: {length}\r\n\r\n{json}");
        let mut writer = client;
        writer.write_all(answer.as_bytes())?;
    }
}

// === impl Shared ===

impl Shared {
    fn answer(&mut self, request: &str, known: bool) -> io::Result<(u16, String)> {
        self.asked.push(request.to_owned());
        if !known {
            return Ok((401, r#"{"detail":"the key is missing"}"#.to_owned()));
        }
        let ended = self.running.as_mut().map(Process::ended).transpose();
        if ended.map_err(io::Error::other)?.flatten().is_some() {
            self.running = None;
        }
        Ok(match request {
            "GET /servers/lobby" => (200, self.tell().to_string()),
            "POST /servers/lobby/start" => match (&self.refuses, &self.running) {
                (Some((status, reason)), _) => {
                    (*status, serde_json::json!({ "detail": reason }).to_string())
                }
                (None, Some(_)) => (409, "{}".to_owned()),
                (None, None) => {
                    self.paused = false;
                    self.running = Some(self.backend.spawn().map_err(io::Error::other)?);
                    (202, "{}".to_owned())
                }
            },
            "POST /servers/lobby/stop" => {
                // What is paused hears nothing.
                self.pause(false)?;
                self.running = None;
                (202, "{}".to_owned())
            }
            "POST /servers/lobby/kill" => {
                if let Some(mut running) = self.running.take() {
                    running.kill().map_err(io::Error::other)?;
                }
                (202, "{}".to_owned())
            }
            "POST /servers/lobby/pause" => self.pause(true)?,
            "POST /servers/lobby/resume" => self.pause(false)?,
            "GET /servers" => {
                let mut server = self.tell();
                server["name"] = "lobby".into();
                (200, serde_json::json!({ "servers": [server] }).to_string())
            }
            _ => (404, "{}".to_owned()),
        })
    }

    /// Holds what runs, or lets it go on.
    fn pause(&mut self, paused: bool) -> io::Result<(u16, String)> {
        let Some(running) = &mut self.running else { return Ok((409, "{}".to_owned())) };
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        running.signal(signal).map_err(io::Error::other)?;
        self.paused = paused;
        Ok((202, "{}".to_owned()))
    }

    fn tell(&mut self) -> serde_json::Value {
        match (&self.running, self.slow) {
            (None, _) => serde_json::json!({ "state": "stopped" }),
            (Some(running), 0) => {
                let state = if self.paused { "paused" } else { "running" };
                let address = self.backend.address().to_string();
                serde_json::json!({ "state": state, "address": address, "id": running.id() })
            }
            (Some(_), looks) => {
                self.slow = looks - 1;
                serde_json::json!({ "state": "starting" })
            }
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
