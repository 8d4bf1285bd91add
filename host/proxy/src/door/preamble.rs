//! The PROXY protocol, versions 1 and 2: a proxy in front says who is connected to it, before the
//! first byte of the client. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::{io, net::SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";
/// Version 2: the proxy speaks for itself.
const LOCAL: u8 = 0x20;
/// Version 1: the longest line.
const LONGEST_LINE: usize = 107;
/// Version 2: the part with a fixed length, and how long the whole may be. Addresses take up to 216
/// bytes, the rest is what a proxy adds of TLS.
const FIXED: usize = 16;
const LONGEST: usize = 4096;

/// A preamble that is still coming in. It takes its own bytes and none of those after it.
#[derive(Default)]
pub(crate) struct Preamble {
    held: Vec<u8>,
}

/// What a preamble says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// This client is connected to the proxy.
    Client(SocketAddr),
    /// The proxy speaks for itself, or does not know: a health check.
    Nobody,
}

/// This is no preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header")]
pub(crate) struct NoPreamble;

/// What a preamble needs next.
enum Want {
    Bytes(usize),
    /// The rest of the line, at most so many bytes.
    Line(usize),
    Nothing,
}

/// Reads the preamble and leaves what comes after it in the socket. Cancelled by dropping, and
/// then the connection is of no more use.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Said> {
    let mut preamble = Preamble::default();
    let mut seen = vec![0; LONGEST];
    loop {
        let there = stream.peek(&mut seen).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = preamble.take(&seen[..there]);
        let (count, said) =
            taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // They are there, so this does not wait.
        stream.read_exact(&mut seen[..count]).await?;
        if let Some(said) = said {
            return Ok(said);
        }
    }
}

// === impl Preamble ===

impl Preamble {
    /// Takes what belongs to the preamble from the front of `bytes`: how many, and what it says
    /// when that is all of it. As long as it is not, every byte is taken.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Said>), NoPreamble> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let count = match self.want()? {
                Want::Nothing => return Ok((taken, Some(self.said()?))),
                _ if rest.is_empty() => return Ok((taken, None)),
                Want::Bytes(count) => count.min(rest.len()),
                Want::Line(most) => {
                    let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
                    end.min(most)
                }
            };
            self.held.extend_from_slice(&rest[..count]);
            taken += count;
        }
    }

    fn want(&self) -> Result<Want, NoPreamble> {
        let held = &*self.held;
        let begins = |with: &[u8]| {
            let both = held.len().min(with.len());
            held[..both] == with[..both]
        };
        if begins(SIGNATURE) {
            let whole = match held {
                [.., high, low] if held.len() == FIXED => {
                    FIXED + usize::from(u16::from_be_bytes([*high, *low]))
                }
                _ if held.len() < FIXED => FIXED,
                _ => FIXED + usize::from(u16::from_be_bytes([held[FIXED - 2], held[FIXED - 1]])),
            };
            return match whole.checked_sub(held.len()) {
                _ if whole > LONGEST => Err(NoPreamble),
                // The shortest line of version 1 is no shorter than the signature, so nothing
                // that comes after a preamble is taken before it is known which one it is.
                Some(_) if held.is_empty() => Ok(Want::Bytes(SIGNATURE.len())),
                Some(0) | None => Ok(Want::Nothing),
                Some(more) => Ok(Want::Bytes(more)),
            };
        }
        if !begins(WORD) {
            return Err(NoPreamble);
        }
        match held.last() {
            Some(b'\n') => Ok(Want::Nothing),
            _ if held.len() >= LONGEST_LINE => Err(NoPreamble),
            _ if held.len() < SIGNATURE.len() => Ok(Want::Bytes(SIGNATURE.len() - held.len())),
            _ => Ok(Want::Line(LONGEST_LINE - held.len())),
        }
    }

    fn said(&self) -> Result<Said, NoPreamble> {
        // What a proxy tells of its own connections is discarded, the family included (§2.2).
        if self.held.starts_with(SIGNATURE) && self.held.get(SIGNATURE.len()) == Some(&LOCAL) {
            return Ok(Said::Nobody);
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        let (header, length) = ProxyHeader::parse(&self.held, config).map_err(|_| NoPreamble)?;
        if length != self.held.len() {
            return Err(NoPreamble);
        }
        match header.proxied_address() {
            Some(address) if address.protocol == Protocol::Stream => {
                Ok(Said::Client(address.source))
            }
            Some(_) => Err(NoPreamble),
            None => Ok(Said::Nobody),
        }
    }
}

#[cfg(test)]
mod tests;
