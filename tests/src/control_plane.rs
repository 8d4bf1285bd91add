//! An HTTP control plane for the `http-waker` provider: starts and stops a server on request and reports
//! its state and address, as the provider's default settings expect, and has the optional requests:
//! list, pause, resume and kill.

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

/// Name and value of the API key header that clients need.
pub const KEY: (&str, &str) = ("X-API-Key", "a key that the guest never sees");

/// Controls one server, `lobby`, whose program is the example backend. Dropping it stops the backend;
/// the threads end with the test's process.
pub struct ControlPlane {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    backend: Hello,
    running: Option<Process>,
    paused: bool,
    requests: Vec<String>,
    /// Number of state queries still answered with `starting` after a start.
    slow: u32,
    /// Response to starts, if they are refused.
    refuses: Option<(u16, String)>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Listens on a free loopback port.
    pub fn begin(hello: &Hello) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            backend: hello.clone(),
            running: None,
            paused: false,
            requests: Vec::new(),
            slow: 0,
            refuses: None,
        }));
        let served = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                // A disconnect does not affect other clients.
                thread::spawn(move || serve(&client, &served).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// URL for the provider's endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, such as `POST /servers/lobby/start`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Answers the first `queries` state queries after each start with `starting`.
    pub fn slow(&self, queries: u32) {
        self.state().slow = queries;
    }

    /// Refuses starts with this status and reason.
    pub fn refuse(&self, status: u16, reason: &str) {
        self.state().refuses = Some((status, reason.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let mut state = self.state();
        // A paused process does not handle signals and would be killed after the grace time.
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
    fn answer(&mut self, request: &str, authorized: bool) -> io::Result<(u16, String)> {
        self.requests.push(request.to_owned());
        if !authorized {
            return Ok((401, r#"{"detail":"the key is missing"}"#.to_owned()));
        }
        let ended = self.running.as_mut().map(Process::ended).transpose();
        if ended.map_err(io::Error::other)?.flatten().is_some() {
            self.running = None;
        }
        Ok(match request {
            "GET /servers/lobby" => (200, self.describe().to_string()),
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
                // A paused process does not handle signals.
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
                let mut server = self.describe();
                server["name"] = "lobby".into();
                (200, serde_json::json!({ "servers": [server] }).to_string())
            }
            _ => (404, "{}".to_owned()),
        })
    }

    /// Pauses or resumes the server.
    fn pause(&mut self, paused: bool) -> io::Result<(u16, String)> {
        let Some(running) = &mut self.running else { return Ok((409, "{}".to_owned())) };
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        running.signal(signal).map_err(io::Error::other)?;
        self.paused = paused;
        Ok((202, "{}".to_owned()))
    }

    fn describe(&mut self) -> serde_json::Value {
        match (&self.running, self.slow) {
            (None, _) => serde_json::json!({ "state": "stopped" }),
            (Some(running), 0) => {
                let state = if self.paused { "paused" } else { "running" };
                let address = self.backend.address().to_string();
                serde_json::json!({ "state": state, "address": address, "id": running.id() })
            }
            (Some(_), queries) => {
                self.slow = queries - 1;
                serde_json::json!({ "state": "starting" })
            }
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
