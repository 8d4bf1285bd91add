//! Binding listening sockets.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::settings::ListenerSettings;

/// Maximum completed connections in the kernel's accept queue.
const BACKLOG: i32 = 4096;
/// Idle time of a connection before the first keepalive probe.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// Time between two keepalive probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered keepalive probes after which the connection is closed.
const KEEPALIVE_RETRIES: u32 = 4;

/// A bound listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The listener's name.
    pub name: String,
    /// The address; its port was chosen by the kernel if it was configured as 0.
    pub address: SocketAddr,
}

/// A listener that could not be bound. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?}: bind {address}: {source}: {}", advice(source.kind()))]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// The configured address.
    pub address: SocketAddr,
    /// The system's error.
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

/// Binds one listening socket for each thread, all on the same address.
pub(crate) fn bind(
    settings: &ListenerSettings,
    threads: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let error =
        |source| BindError { listener: settings.name.clone(), address: settings.bind, source };
    // With SO_REUSEPORT the kernel does not report another process on the port, such as a second
    // router. A first attempt without it does.
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
    // Accepted connections inherit these options.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Keepalive probes, by which the kernel notices peers that have vanished.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES)
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
