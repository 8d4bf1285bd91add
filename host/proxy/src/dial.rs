//! Dialling the addresses of instances, as far as the workload's dial policy permits it.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
};

use drowse_core::DialPolicy;
use socket2::SockRef;
use tokio::{
    io::ReadBuf,
    net::{TcpStream, lookup_host},
};

/// Maximum addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Connects to the first address of a host that `policy` permits and that accepts a connection. A
/// name is resolved here, on a blocking thread, and nowhere after the check: the address that was
/// checked is the one that is connected to. The error is of kind `PermissionDenied` when the policy
/// refuses every address.
pub(crate) async fn dial(host: &str, port: u16, policy: &dyn DialPolicy) -> io::Result<TcpStream> {
    let (mut refused, mut failed) = (None, None);
    for address in resolve(host, port).await? {
        if let Err(refusal) = policy.check(host, address).await {
            refused.get_or_insert_with(|| io::Error::new(io::ErrorKind::PermissionDenied, refusal));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    let no_address = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    Err(failed.or(refused).unwrap_or_else(no_address))
}

/// The addresses of a host; IPv4-mapped ones as IPv4, which is what the kernel connects to.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
    }
    let found = lookup_host((host, port)).await?.take(MAX_ADDRESSES);
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        // Keeps the scope of a link-local address.
        IpAddr::V6(_) => address,
    };
    Ok(found.map(canonical).collect())
}

/// Reads the bytes that arrived before the instance ended; the error of [`instance_ended`] when
/// none is left.
pub(crate) fn read_arrived(stream: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    match (&*SockRef::from(stream)).read(buf.initialize_unfilled()) {
        Ok(count) => {
            buf.advance(count);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(instance_ended()),
        Err(error) => Err(error),
    }
}

/// The error of a read from, or a write to, an instance that has ended.
pub(crate) fn instance_ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the instance has ended")
}

#[cfg(test)]
pub(crate) mod tests;
