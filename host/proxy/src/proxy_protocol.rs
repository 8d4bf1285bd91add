//! The PROXY protocol, versions 1 and 2: a proxy sends the address of its client before the
//! client's first byte. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::{io, net::SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// How a header of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How a header of version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// The version and command byte of version 2, command LOCAL.
const LOCAL: u8 = 0x20;
/// Maximum bytes of a header of version 1.
const MAX_LINE: usize = 107;
/// Bytes of the fixed part of version 2.
const FIXED_PART: usize = 16;
/// Maximum bytes of a header of version 2. Addresses take up to 216, the rest is TLS information.
const MAX_LENGTH: usize = 4096;

/// Collects a header from the bytes that arrive, and takes no byte after it.
#[derive(Default)]
pub(crate) struct HeaderReader {
    header: Vec<u8>,
}

/// The source of a connection, according to its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxySource {
    /// The proxy relays the connection of this client.
    Client(SocketAddr),
    /// The proxy connects on its own behalf (`LOCAL`), for a health check, or does not know the
    /// client (`UNKNOWN`).
    Local,
}

/// The bytes are no PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header")]
pub(crate) struct InvalidHeader;

/// The bytes that a header needs next.
enum Needed {
    Bytes(usize),
    /// The rest of the line, at most this many bytes.
    Line(usize),
    Nothing,
}

/// Reads the header and leaves the bytes after it in the socket. After cancellation by dropping,
/// the connection cannot be used: a part of the header is lost.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<ProxySource> {
    let mut reader = HeaderReader::default();
    let mut buffer = vec![0; MAX_LENGTH];
    loop {
        let available = stream.peek(&mut buffer).await?;
        if available == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = reader.take(&buffer[..available]);
        let (count, source) =
            taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // The bytes were peeked, so this does not wait.
        stream.read_exact(&mut buffer[..count]).await?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

// === impl HeaderReader ===

impl HeaderReader {
    /// Takes the bytes of the header from the front of `bytes`: their number, and the source once
    /// the header is complete. Every byte of an incomplete header is taken.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<ProxySource>), InvalidHeader> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let count = match self.needed()? {
                Needed::Nothing => return Ok((taken, Some(self.source()?))),
                _ if rest.is_empty() => return Ok((taken, None)),
                Needed::Bytes(count) => count.min(rest.len()),
                Needed::Line(max) => {
                    let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
                    end.min(max)
                }
            };
            self.header.extend_from_slice(&rest[..count]);
            taken += count;
        }
    }

    fn needed(&self) -> Result<Needed, InvalidHeader> {
        let header = &*self.header;
        let may_begin_with = |prefix: &[u8]| {
            let common = header.len().min(prefix.len());
            header[..common] == prefix[..common]
        };
        if may_begin_with(SIGNATURE) {
            let length = match header {
                [.., high, low] if header.len() == FIXED_PART => {
                    FIXED_PART + usize::from(u16::from_be_bytes([*high, *low]))
                }
                _ if header.len() < FIXED_PART => FIXED_PART,
                _ => {
                    let length = [header[FIXED_PART - 2], header[FIXED_PART - 1]];
                    FIXED_PART + usize::from(u16::from_be_bytes(length))
                }
            };
            return match length.checked_sub(header.len()) {
                _ if length > MAX_LENGTH => Err(InvalidHeader),
                // The shortest header of version 1 is no shorter than the signature, so no byte
                // after a header is taken before its version is known.
                Some(_) if header.is_empty() => Ok(Needed::Bytes(SIGNATURE.len())),
                Some(0) | None => Ok(Needed::Nothing),
                Some(more) => Ok(Needed::Bytes(more)),
            };
        }
        if !may_begin_with(WORD) {
            return Err(InvalidHeader);
        }
        match header.last() {
            Some(b'\n') => Ok(Needed::Nothing),
            _ if header.len() >= MAX_LINE => Err(InvalidHeader),
            _ if header.len() < SIGNATURE.len() => {
                Ok(Needed::Bytes(SIGNATURE.len() - header.len()))
            }
            _ => Ok(Needed::Line(MAX_LINE - header.len())),
        }
    }

    fn source(&self) -> Result<ProxySource, InvalidHeader> {
        // With LOCAL the receiver discards the addresses, the family included (§2.2).
        if self.header.starts_with(SIGNATURE) && self.header.get(SIGNATURE.len()) == Some(&LOCAL) {
            return Ok(ProxySource::Local);
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        let (header, length) =
            ProxyHeader::parse(&self.header, config).map_err(|_| InvalidHeader)?;
        if length != self.header.len() {
            return Err(InvalidHeader);
        }
        match header.proxied_address() {
            Some(address) if address.protocol == Protocol::Stream => {
                Ok(ProxySource::Client(address.source))
            }
            Some(_) => Err(InvalidHeader),
            None => Ok(ProxySource::Local),
        }
    }
}

#[cfg(test)]
mod tests;
