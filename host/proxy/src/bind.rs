//! Taking the sockets.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::settings::ListenerSettings;

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 4096;
/// A peer that has said nothing for so long is asked whether it is still there.
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE_TRIES: u32 = 4;

/// A listener that is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The listener's name.
    pub name: String,
    /// Where it listens; the port is the kernel's choice if it was configured as 0.
    pub address: SocketAddr,
}

/// A listener that could not be bound, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?}: bind {address}: {source}: {}", advice(source.kind()))]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => {
            "another program, or another listener, has this port; `ss -ltnp` shows which: stop it \
             or set `bind` to another port"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: give the program CAP_NET_BIND_SERVICE or set \
             `bind` to a higher port"
        }
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has this address; `ip address` lists them: set `bind` \
             to one of them, or to 0.0.0.0 or [::] for all"
        }
        _ => "check `bind`",
    }
}

/// One listening socket for each thread, all on the same address.
pub(crate) fn bind(
    settings: &ListenerSettings,
    threads: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let error =
        |source| BindError { listener: settings.name.clone(), address: settings.bind, source };
    // Sockets that share a port by SO_REUSEPORT are not told of each other; without it the
    // kernel says whether somebody else, perhaps another router, is there already.
    if settings.bind.port() != 0 {
        socket(settings.bind, false).map_err(error)?;
    }
    let first = listen(settings.bind).map_err(error)?;
    let address = first.local_addr().map_err(error)?;
    let mut all = vec![first];
    while all.len() < threads {
        all.push(listen(address).map_err(error)?);
    }
    Ok((address, all))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    // Accepted connections inherit these.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How peers that say nothing are asked whether they are still there.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(ALIVE_AFTER).with_interval(ALIVE_EVERY).with_retries(ALIVE_TRIES)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
