//! How many pages may follow along by a stream.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::who::network;

/// Streams of one client at a time, so that nobody takes those of all others.
const OF_ONE: usize = 128;

/// The streams that may be open, in all and for one client.
pub(super) struct Streams {
    all: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// One stream's place.
pub(super) struct Stream {
    streams: Arc<Streams>,
    client: IpAddr,
    _permit: OwnedSemaphorePermit,
}

// === impl Streams ===

impl Streams {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(most)), clients: Mutex::default() })
    }

    /// A place for one more stream of this client, if there is one.
    pub(super) fn begin(self: &Arc<Self>, client: IpAddr) -> Option<Stream> {
        let client = network(client);
        let permit = self.all.clone().try_acquire_owned().ok()?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let open = clients.entry(client).or_default();
        if *open >= OF_ONE {
            return None;
        }
        *open += 1;
        Some(Stream { streams: self.clone(), client, _permit: permit })
    }
}

// === impl Stream ===

impl Drop for Stream {
    fn drop(&mut self) {
        let mut clients = self.streams.clients.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn one_client_leaves_streams_to_the_others() {
        let streams = Streams::new(OF_ONE + 2);
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held: Vec<_> = std::iter::from_fn(|| streams.begin(one)).collect();
        assert_eq!(held.len(), OF_ONE);
        let others: Vec<_> = std::iter::from_fn(|| streams.begin(two)).collect();
        assert_eq!(others.len(), 2, "in all there are no more");
        drop(others);
        held.pop();
        held.extend(streams.begin(one));
        assert_eq!(held.len(), OF_ONE, "a place that was given back is free again");
        drop(held);
        assert!(streams.clients.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
