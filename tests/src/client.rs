//! Clients: `curl`, and a small HTTP/1.1 client that measures the time to the first byte.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers as received.
    pub head: String,
    /// The body as received, including any chunked framing.
    pub body: Vec<u8>,
    /// Time from the start of the connection to the first byte of the response.
    pub first_byte: Duration,
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a `GET` on a new connection. `limit` is the timeout of the connect and of each read.
pub fn get(address: SocketAddr, host: &str, path: &str, limit: Duration) -> Result<Answer> {
    request(address, host, path, limit)
        .with_context(|| format!("GET http://{address}{path} ({host})"))
}

fn request(address: SocketAddr, host: &str, path: &str, limit: Duration) -> Result<Answer> {
    let begin = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limit))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let first_byte = begin.elapsed();
    let mut all = first.to_vec();
    stream.read_to_end(&mut all)?;
    parse(all, first_byte).context("the response is not HTTP")
}

fn parse(mut all: Vec<u8>, first_byte: Duration) -> Result<Answer> {
    let border = all.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| {
        anyhow!("it ends within the headers: {:?}", String::from_utf8_lossy(&all))
    })?;
    let body = all.split_off(border + 4);
    let head = String::from_utf8(all)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| anyhow!("no status in {head:?}"))?;
    Ok(Answer { status, head, body, first_byte })
}

/// Returns whether an HTTP/1.1 server responds within one second. For tight polling loops.
pub fn answers(address: SocketAddr) -> bool {
    let probe = || -> io::Result<()> {
        let limit = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")?;
        stream.read_exact(&mut [0])
    };
    probe().is_ok()
}

/// Runs `curl --silent --show-error` with these arguments and waits for its exit.
pub fn curl(arguments: &[&str]) -> Result<Output> {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .output()
        .context("run curl")
}
