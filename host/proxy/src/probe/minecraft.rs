//! One look at a Minecraft server (Java edition): the status request that a client's server list
//! sends since 1.7.
//!
//! A packet is its length, its number and its content; lengths and numbers are written seven bits
//! to a byte, the lowest first. The client sends a handshake (number 0: the protocol's version, the
//! host and port it was given, the state 1 for a status) and an empty packet 0; the server answers
//! with packet 0, which is one text: JSON.

use std::io;

use drowse_core::DialPolicy;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::upstream;

/// What is attempted, for messages.
pub(super) const ATTEMPT: &str = "minecraft status";

/// Bytes of a status; most are its picture's.
const STATUS_BYTES: usize = 64 << 10;
/// Bytes of a packet that holds such a status.
const PACKET_BYTES: usize = STATUS_BYTES + 8;
/// Bytes of a number.
const NUMBER_BYTES: usize = 5;
/// The longest host that a server reads.
const HOST_BYTES: usize = 255;

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// How many play; none if it does not say.
    pub(super) players_online: Option<u32>,
}

/// Why an answer is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Length,
    Number,
    Json,
}

/// Connects and asks.
pub(super) async fn look((host, port): (&str, u16), policy: &dyn DialPolicy) -> io::Result<Status> {
    ask(upstream::open(host, port, policy).await?, host, port).await
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    port: u16,
) -> io::Result<Status> {
    stream.write_all(&question(host, port)).await?;
    let mut answer = Vec::new();
    loop {
        // Grows by what has come, never by what was announced; `status` refuses what is too long.
        if stream.read_buf(&mut answer).await? == 0 {
            let message = "it closed the connection without a status";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if let Some(status) = status(&answer).map_err(io::Error::from)? {
            return Ok(status);
        }
    }
}

/// Handshake and request in one piece, as clients send them.
fn question(host: &str, port: u16) -> Vec<u8> {
    let host = &host[..host.floor_char_boundary(HOST_BYTES)];
    let mut handshake = Vec::new();
    put_number(&mut handshake, 0);
    // -1: by convention who only wants to know the server's version.
    put_number(&mut handshake, u32::MAX);
    put_bytes(&mut handshake, host.as_bytes());
    handshake.extend_from_slice(&port.to_be_bytes());
    put_number(&mut handshake, 1);
    let mut question = Vec::new();
    put_bytes(&mut question, &handshake);
    put_bytes(&mut question, &[0]);
    question
}

/// The status in what has been received; none as long as it is not complete.
fn status(received: &[u8]) -> Result<Option<Status>, Flaw> {
    let Some((length, rest)) = number(received)? else { return Ok(None) };
    let length = bounded(length, PACKET_BYTES)?;
    // The number 0 is one byte; what is something else is not waited for.
    if length == 0 || rest.first().is_some_and(|number| *number != 0) {
        return Err(Flaw::Number);
    }
    let Some(packet) = rest.get(..length) else { return Ok(None) };
    let rest = &packet[1..];
    let (length, text) = number(rest)?.ok_or(Flaw::Length)?;
    let text = text.get(..bounded(length, STATUS_BYTES)?).ok_or(Flaw::Length)?;
    let json: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Flaw::Json)?;
    let online = json.get("players").and_then(|players| players.get("online"));
    let players_online = online.and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
    Ok(Some(Status { players_online }))
}

fn bounded(length: u32, limit: usize) -> Result<usize, Flaw> {
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(Flaw::Length)
}

/// The number at the beginning and what comes after it; none as long as it is not complete.
fn number(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, Flaw> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(NUMBER_BYTES).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[index + 1..])));
        }
    }
    if bytes.len() >= NUMBER_BYTES { Err(Flaw::Length) } else { Ok(None) }
}

fn put_number(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// With their number in front.
fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_number(bytes, u32::try_from(content.len()).expect("a question is short"));
    bytes.extend_from_slice(content);
}

// === impl Flaw ===

impl From<Flaw> for io::Error {
    fn from(flaw: Flaw) -> Self {
        let message = match flaw {
            Flaw::Length => "its answer is no packet of a reasonable length",
            Flaw::Number => "its answer is another packet than a status",
            Flaw::Json => "its status is no JSON object",
        };
        Self::new(io::ErrorKind::InvalidData, message)
    }
}

#[cfg(test)]
mod tests;
