//! HTTP/1.1 over TLS, with error texts in the status line.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::{
    TOKEN,
    cluster::{Cluster, Generation},
    lock,
};

/// Delay of the response to a refused login.
const DELAY: Duration = Duration::from_secs(3);

/// Maximum size of a request body in bytes.
const BODY: usize = 64 << 10;

/// A parsed request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The decoded segments after `/api2/json`.
    pub(super) path: Vec<String>,
    /// Parameters of query and form.
    pub(super) parameters: BTreeMap<String, String>,
}

/// An error response.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: String,
    /// Errors by parameter.
    pub(super) errors: BTreeMap<String, String>,
}

pub(super) fn serve(
    client: TcpStream,
    tls: Arc<ServerConfig>,
    cluster: &Mutex<Cluster>,
) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    client.set_nodelay(true)?;
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, client));
    while let Some(head) = read_head(&mut stream)? {
        let (line, headers) = head;
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if length > BODY {
            return Ok(());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let known = headers.get("authorization") == Some(&format!("PVEAPIToken={TOKEN}"));
        let answer = if known {
            let form = headers.get("content-type").map(String::as_str);
            let asked = read(&line, form, &body);
            asked.and_then(|asked| lock(cluster).answer(&asked))
        } else {
            // Without a hint whether the token or its secret is wrong.
            thread::sleep(DELAY);
            Err(Refusal::new(401, "Authentication failed!"))
        };
        let generation = lock(cluster).generation;
        stream.get_mut().write_all(written(answer, generation).as_bytes())?;
    }
    Ok(())
}

type Head = (String, BTreeMap<String, String>);

fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let request = line.trim_end().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => return Ok(Some((request, headers))),
        };
    }
}

pub(super) fn read(line: &str, form: Option<&str>, body: &[u8]) -> Result<Request, Refusal> {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !body.is_empty() && method != "POST" && method != "PUT" {
        return Err(Refusal::new(501, &format!("Unexpected content for method '{method}'")));
    }
    if !body.is_empty() && form != Some("application/x-www-form-urlencoded") {
        return Err(Refusal::new(500, "upload without content type"));
    }
    let path = path.strip_prefix("/api2/json/").ok_or_else(|| Refusal::new(404, "no such file"))?;
    let mut parameters = BTreeMap::new();
    let body = String::from_utf8_lossy(body);
    for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.insert(decoded(name), decoded(value));
    }
    let path = path.split('/').map(decoded).collect();
    Ok(Request { method: method.to_owned(), path, parameters })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = || u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok();
        match (first, hex()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn written(answer: Result<Value, Refusal>, generation: Generation) -> String {
    let (status, words, body) = match answer {
        Ok(data) => (200, "OK".to_owned(), serde_json::json!({ "data": data })),
        Err(Refusal { status, text, errors }) => {
            let mut body = serde_json::json!({ "data": null });
            if !errors.is_empty() {
                body["errors"] = serde_json::json!(errors);
            }
            if generation == Generation::New {
                body["message"] = format!("{text}\n").into();
            }
            (status, text, body)
        }
    };
    let (body, head) = (body.to_string(), "content-type: application/json;charset=UTF-8");
    format!("HTTP/1.1 {status} {words}\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(status: u16, text: &str) -> Self {
        Self { status, text: text.to_owned(), errors: BTreeMap::new() }
    }
}
