//! The Minecraft probe (Java edition): the status request of a client's server list, since 1.7.
//!
//! A packet is its length, its ID and its content. Lengths and IDs are varints: seven bits per byte,
//! the lowest first. The client sends a handshake (ID 0: protocol version, host and port of the
//! server, next state 1 for a status) and an empty packet with ID 0. The server answers with a packet
//! with ID 0, which contains one JSON string.

use std::io;

use drowse_core::DialPolicy;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::dial::dial;

/// The name of the probe in error messages.
pub(super) const ATTEMPT: &str = "minecraft status";

/// Maximum bytes of a status; most of them are the server's icon.
const MAX_STATUS_BYTES: usize = 64 << 10;
/// Maximum bytes of the packet of a status.
const MAX_PACKET_BYTES: usize = MAX_STATUS_BYTES + 8;
/// Maximum bytes of a varint.
const MAX_VARINT_BYTES: usize = 5;
/// Maximum bytes of the host in a handshake.
const MAX_HOST_BYTES: usize = 255;

/// The part of a status that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Number of players, if the status contains it.
    pub(super) players_online: Option<u32>,
}

/// The reason why a response is not a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidStatus {
    Length,
    PacketId,
    Json,
}

/// Connects and requests the status.
pub(super) async fn status(
    (host, port): (&str, u16),
    policy: &dyn DialPolicy,
) -> io::Result<Status> {
    request_status(dial(host, port, policy).await?, host, port).await
}

async fn request_status(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    port: u16,
) -> io::Result<Status> {
    stream.write_all(&request(host, port)).await?;
    let mut received = Vec::new();
    loop {
        // Grows by received bytes, not by the announced length, which `parse_status` limits.
        if stream.read_buf(&mut received).await? == 0 {
            let message = "the server closed the connection without a status";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if let Some(status) = parse_status(&received).map_err(io::Error::from)? {
            return Ok(status);
        }
    }
}

/// Handshake and status request in one write, as clients send them.
fn request(host: &str, port: u16) -> Vec<u8> {
    let host = &host[..host.floor_char_boundary(MAX_HOST_BYTES)];
    let mut handshake = Vec::new();
    put_varint(&mut handshake, 0);
    // Protocol version -1, the convention for a status request.
    put_varint(&mut handshake, u32::MAX);
    put_bytes(&mut handshake, host.as_bytes());
    handshake.extend_from_slice(&port.to_be_bytes());
    put_varint(&mut handshake, 1);
    let mut request = Vec::new();
    put_bytes(&mut request, &handshake);
    put_bytes(&mut request, &[0]);
    request
}

/// Parses the received bytes. None if the status is incomplete.
fn parse_status(received: &[u8]) -> Result<Option<Status>, InvalidStatus> {
    let Some((length, rest)) = varint(received)? else { return Ok(None) };
    let length = bounded(length, MAX_PACKET_BYTES)?;
    // ID 0 is one byte. Another ID is refused before the packet is complete.
    if length == 0 || rest.first().is_some_and(|id| *id != 0) {
        return Err(InvalidStatus::PacketId);
    }
    let Some(packet) = rest.get(..length) else { return Ok(None) };
    let rest = &packet[1..];
    let (length, text) = varint(rest)?.ok_or(InvalidStatus::Length)?;
    let text = text.get(..bounded(length, MAX_STATUS_BYTES)?).ok_or(InvalidStatus::Length)?;
    let json: Map<String, Value> = serde_json::from_slice(text).map_err(|_| InvalidStatus::Json)?;
    let online = json.get("players").and_then(|players| players.get("online"));
    let players_online = online.and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
    Ok(Some(Status { players_online }))
}

fn bounded(length: u32, limit: usize) -> Result<usize, InvalidStatus> {
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(InvalidStatus::Length)
}

/// The varint at the start and the bytes after it. None if the varint is incomplete.
fn varint(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, InvalidStatus> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[index + 1..])));
        }
    }
    if bytes.len() >= MAX_VARINT_BYTES { Err(InvalidStatus::Length) } else { Ok(None) }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Writes the length, then the content.
fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_varint(bytes, u32::try_from(content.len()).expect("requests are short"));
    bytes.extend_from_slice(content);
}

// === impl InvalidStatus ===

impl From<InvalidStatus> for io::Error {
    fn from(flaw: InvalidStatus) -> Self {
        let message = match flaw {
            InvalidStatus::Length => "the response is not a packet of a valid length",
            InvalidStatus::PacketId => "the response is another packet than a status",
            InvalidStatus::Json => "the status is not a JSON object",
        };
        Self::new(io::ErrorKind::InvalidData, message)
    }
}

#[cfg(test)]
mod tests;
