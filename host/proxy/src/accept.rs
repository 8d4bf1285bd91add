//! Accepting connections, and reading the PROXY protocol header of those that begin with one.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    client::{ClientConnection, is_trusted},
    proxy_protocol::{self, ProxySource},
    settings::ListenerSettings,
    worker::{LAST_REQUEST, Worker},
};

/// Pause before the next attempt when the kernel cannot provide a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of one listener on one thread.
pub(crate) struct Acceptor<S> {
    settings: Rc<ListenerSettings>,
    worker: Rc<Worker>,
    /// One permit for each connection that the listener may have, over all threads.
    permits: Arc<Semaphore>,
    /// Begins to serve an accepted connection. Does not block.
    serve: S,
}

// === impl Acceptor ===

impl<S: Fn(ClientConnection) + 'static> Acceptor<S> {
    pub(crate) fn new(
        settings: Rc<ListenerSettings>,
        worker: Rc<Worker>,
        permits: Arc<Semaphore>,
        serve: S,
    ) -> Rc<Self> {
        Rc::new(Self { settings, worker, permits, serve })
    }

    /// Accepts connections until shutdown, then those that the kernel has completed by then.
    pub(crate) async fn run(self: Rc<Self>, socket: std::net::TcpListener) {
        let listener = &self.settings.name;
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(listener, %error, "cannot listen");
                return;
            }
        };
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.worker.stop.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    failing = false;
                    self.accept(stream, address).await;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(
                            listener, %error,
                            "no connection accepted, trying again; when the limit of open files \
                             is reached, raise it or lower the listener's `max-connections`"
                        );
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections that the kernel has completed are served. They are accepted without the
        // runtime, which may not have been notified of the last ones yet.
        let Ok(socket) = socket.into_std() else { return };
        while let Ok((stream, address)) = socket.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.accept(stream, address).await;
            }
        }
    }

    /// Begins to serve a connection. Waits while the listener is at its limit of connections.
    async fn accept(self: &Rc<Self>, stream: TcpStream, address: SocketAddr) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        let proxies = &self.settings.proxy_protocol;
        if !proxies.is_empty() && is_trusted(proxies, address.ip().to_canonical()) {
            let serving = self.clone().serve_after_proxy_header(stream, address, permit);
            self.worker.tasks.spawn_local(serving);
        } else {
            self.serve(stream, address, permit);
        }
    }

    /// Serves a connection that begins with a PROXY protocol header.
    async fn serve_after_proxy_header(
        self: Rc<Self>,
        mut stream: TcpStream,
        proxy: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let listener = &self.settings.name;
        let limit = self.settings.limits.head_timeout;
        let header = tokio::time::timeout(limit, proxy_protocol::read(&mut stream));
        let stop = async {
            self.worker.stop.cancelled().await;
            tokio::time::sleep(LAST_REQUEST).await;
        };
        let header = tokio::select! {
            header = header => header,
            () = stop => return,
        };
        match header {
            Ok(Ok(ProxySource::Client(address))) => self.serve(stream, address, permit),
            Ok(Ok(ProxySource::Local)) => self.serve(stream, proxy, permit),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => tracing::warn!(
                listener, %proxy, %error,
                "connection closed: the listener's `proxy-protocol` names this proxy, so it must \
                 send one"
            ),
            // Health checks close the connection without sending a byte.
            Ok(Err(_)) | Err(_) => tracing::debug!(
                listener, %proxy,
                "connection ended before its PROXY protocol header was complete"
            ),
        }
    }

    fn serve(&self, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        self.worker.clock.advance();
        (self.serve)(ClientConnection::new(stream, address, &self.worker.clock, permit));
    }
}

/// The error is about the connection to be accepted, not about the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
