//! The limit on open progress streams: per client, and for all clients together.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::client_network;

/// Maximum open streams of one client, so that one client cannot take all of them.
const MAX_PER_CLIENT: usize = 128;

/// Counts open streams.
pub(super) struct StreamLimit {
    total: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// Permission for one open stream.
pub(super) struct StreamPermit {
    limit: Arc<StreamLimit>,
    client: IpAddr,
    _total: OwnedSemaphorePermit,
}

// === impl StreamLimit ===

impl StreamLimit {
    pub(super) fn new(max_total: usize) -> Arc<Self> {
        Arc::new(Self { total: Arc::new(Semaphore::new(max_total)), clients: Mutex::default() })
    }

    /// A permit for one more stream of this client, if neither limit is reached.
    pub(super) fn acquire(self: &Arc<Self>, client: IpAddr) -> Option<StreamPermit> {
        let client = client_network(client);
        let total = self.total.clone().try_acquire_owned().ok()?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let open = clients.entry(client).or_default();
        if *open >= MAX_PER_CLIENT {
            return None;
        }
        *open += 1;
        Some(StreamPermit { limit: self.clone(), client, _total: total })
    }
}

// === impl StreamPermit ===

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut clients = self.limit.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = clients.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_all_streams() {
        let limit = StreamLimit::new(MAX_PER_CLIENT + 2);
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held: Vec<_> = std::iter::from_fn(|| limit.acquire(one)).collect();
        assert_eq!(held.len(), MAX_PER_CLIENT);
        let others: Vec<_> = std::iter::from_fn(|| limit.acquire(two)).collect();
        assert_eq!(others.len(), 2, "the common limit is reached");
        drop(others);
        held.pop();
        held.extend(limit.acquire(one));
        assert_eq!(held.len(), MAX_PER_CLIENT, "a dropped permit is free again");
        drop(held);
        assert!(limit.clients.lock().unwrap().is_empty(), "clients without streams are dropped");
    }
}
