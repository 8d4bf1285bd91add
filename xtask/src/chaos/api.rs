//! The engine's API over its socket. It is faster than the client program, so that faults follow each
//! other within milliseconds.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An engine, identified by its socket.
pub(super) struct Api {
    socket: PathBuf,
}

/// Timeout of a response. A suspended engine answers late.
const ANSWER: Duration = Duration::from_secs(60);

// === impl Api ===

impl Api {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends a modifying request. An error unless the status is one of `expected`.
    pub(super) fn change(&self, request: &str, body: &Value, expected: &[u16]) -> Result<()> {
        let (status, text) = self.call(request, body)?;
        if !expected.contains(&status) {
            bail!("engine: {request}: {status}: {}", text.trim());
        }
        Ok(())
    }

    /// Sends a `GET` and parses the JSON response.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let request = format!("GET {path}");
        let (status, text) = self.call(&request, &Value::Null)?;
        if status != 200 {
            bail!("engine: {request}: {status}: {}", text.trim());
        }
        serde_json::from_str(&text).with_context(|| format!("engine: {request}: no JSON"))
    }

    fn call(&self, request: &str, body: &Value) -> Result<(u16, String)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        let exchange = || -> Result<String> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(ANSWER))?;
            // HTTP/1.0, so that the response ends with the connection and is not chunked.
            let head = format!("{request} HTTP/1.0\r\nhost: engine\r\n{kind}content-length: ");
            stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().with_context(|| format!("engine: {request}"))?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("engine: {request}: no HTTP: {answer:?}"))?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        Ok((status, body.unwrap_or_default()))
    }
}
