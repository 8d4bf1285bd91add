//! A client has connected: whether a proxy has to introduce it first.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    Door,
    preamble::{self, Said},
};
use crate::{headers::trusts, worker::FIRST_WORD};

impl Door {
    /// Begins to serve a client. While the listener is full, nobody else is accepted.
    pub(crate) async fn welcome(
        self: &Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        room: &Arc<Semaphore>,
    ) {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let proxies = &self.settings.proxy_protocol;
        if !proxies.is_empty() && trusts(proxies, address.ip().to_canonical()) {
            let introduced = self.clone().introduced(stream, address, permit);
            self.worker.tasks.spawn_local(introduced);
        } else {
            self.worker.seat(self, stream, address, permit);
        }
    }

    /// Serves a client that a proxy introduces by the PROXY protocol.
    async fn introduced(
        self: Rc<Self>,
        mut stream: TcpStream,
        proxy: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let said = tokio::time::timeout(self.limits.head_timeout, preamble::read(&mut stream));
        let stop = async {
            self.worker.stop.cancelled().await;
            tokio::time::sleep(FIRST_WORD).await;
        };
        let said = tokio::select! {
            said = said => said,
            () = stop => return,
        };
        match said {
            Ok(Ok(Said::Client(address))) => self.worker.seat(&self, stream, address, permit),
            Ok(Ok(Said::Nobody)) => self.worker.seat(&self, stream, proxy, permit),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => tracing::warn!(
                listener = self.settings.name, %proxy, %error,
                "connection closed: the listener's `proxy-protocol` names this proxy, so it must \
                 send one"
            ),
            // Closed without a word, as health checks do, or too slow.
            Ok(Err(_)) | Err(_) => tracing::debug!(
                listener = self.settings.name, %proxy,
                "connection ended before its PROXY protocol header was complete"
            ),
        }
    }
}
