//! Whose password is checked next.
//!
//! A check takes a core for a tenth of a second, so few run at a time and the others wait. The
//! checks of one client run one after the other: however many it asks for, it is one of those that
//! wait for a core, and the next client waits for no more than one of its checks.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks of one client that wait or run; one more is refused. A browser asks for six at a time.
pub(super) const OF_ONE: usize = 16;
/// Checks of all clients that wait or run; one more is refused.
const OF_ALL: usize = 256;

/// The checks that wait and run, for all files of users.
pub(super) struct PasswordQueue {
    cores: Arc<Semaphore>,
    checks: Mutex<Checks>,
}

/// Who a check is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    /// The client, see [`super::network`].
    Client(IpAddr),
    /// Credentials that were right before, by their digest: they owe nothing to others who come
    /// from the same address.
    Credentials([u8; 32]),
}

/// There is no room for one more check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// For this payer.
    OfOne,
    /// For all of them.
    OfAll,
}

/// One check, from its arrival to its end.
pub(super) struct Check {
    queue: Arc<PasswordQueue>,
    payer: Payer,
    turn: Arc<Semaphore>,
}

/// A check that may run now. Dropping it lets the next one run.
pub(super) struct Turn {
    _core: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _check: Check,
}

#[derive(Default)]
struct Checks {
    all: usize,
    payers: HashMap<Payer, Share>,
}

/// What one payer has in the queue.
struct Share {
    checks: usize,
    /// One permit.
    turn: Arc<Semaphore>,
}

// === impl PasswordQueue ===

impl PasswordQueue {
    /// Checks run on so many cores at a time.
    pub(super) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { cores: Arc::new(Semaphore::new(cores)), checks: Mutex::default() })
    }

    /// Takes a place for one check.
    pub(super) fn enter(self: &Arc<Self>, payer: Payer) -> Result<Check, Full> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let held = checks.payers.get(&payer).map_or(0, |share| share.checks);
        if held >= OF_ONE {
            return Err(Full::OfOne);
        }
        if checks.all >= OF_ALL {
            return Err(Full::OfAll);
        }
        checks.all += 1;
        let new = || Share { checks: 0, turn: Arc::new(Semaphore::new(1)) };
        let share = checks.payers.entry(payer).or_insert_with(new);
        share.checks += 1;
        Ok(Check { queue: self.clone(), payer, turn: share.turn.clone() })
    }

    #[cfg(test)]
    pub(super) fn close(&self) {
        self.cores.close();
    }

    #[cfg(test)]
    pub(super) fn checks(&self) -> usize {
        self.checks.lock().unwrap().all
    }

    #[cfg(test)]
    pub(super) async fn hold_core(&self) -> OwnedSemaphorePermit {
        self.cores.clone().acquire_owned().await.unwrap()
    }
}

// === impl Check ===

impl Check {
    /// Waits for its turn. None when the queue was closed.
    pub(super) async fn turn(self) -> Option<Turn> {
        // The payer's turn first: a payer waits for a core with one check only.
        let turn = self.turn.clone().acquire_owned().await.ok()?;
        let core = self.queue.cores.clone().acquire_owned().await.ok()?;
        Some(Turn { _core: core, _turn: turn, _check: self })
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let mut checks = self.queue.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.all -= 1;
        if let Some(share) = checks.payers.get_mut(&self.payer) {
            share.checks -= 1;
            if share.checks == 0 {
                checks.payers.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use futures_util::poll;

    use super::*;

    fn client(last: u8) -> Payer {
        Payer::Client(IpAddr::from([192, 0, 2, last]))
    }

    async fn pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        matches!(poll!(future), Poll::Pending)
    }

    #[tokio::test]
    async fn a_client_with_many_checks_delays_another_client_by_one_of_them() {
        let queue = PasswordQueue::new(1);
        let running = queue.enter(client(1)).unwrap().turn().await.unwrap();
        let mut second = pin!(queue.enter(client(1)).unwrap().turn());
        assert!(pending(second.as_mut()).await);
        let waiting: Vec<_> =
            std::iter::from_fn(|| queue.enter(client(1)).ok()).take(1000).collect();
        assert_eq!(waiting.len(), OF_ONE - 2);
        assert_eq!(queue.enter(client(1)).err(), Some(Full::OfOne));
        let mut other = pin!(queue.enter(client(2)).unwrap().turn());
        assert!(pending(other.as_mut()).await);
        drop(running);
        assert!(pending(second.as_mut()).await, "the flood's second check came later");
        let Poll::Ready(Some(turn)) = poll!(other.as_mut()) else { panic!("it is its turn") };
        drop(turn);
        assert!(matches!(poll!(second.as_mut()), Poll::Ready(Some(_))));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_remembers_nobody() {
        let queue = PasswordQueue::new(1);
        let mut held = Vec::new();
        for last in 0..u8::try_from(OF_ALL / OF_ONE).unwrap() {
            for _ in 0..OF_ONE {
                held.push(queue.enter(client(last)).unwrap());
            }
        }
        assert_eq!(queue.enter(client(255)).err(), Some(Full::OfAll));
        held.pop();
        held.push(queue.enter(client(255)).unwrap());
        drop(held);
        let checks = queue.checks.lock().unwrap();
        assert!(checks.all == 0 && checks.payers.is_empty());
    }

    #[tokio::test]
    async fn a_check_that_is_given_up_leaves_its_place() {
        let queue = PasswordQueue::new(1);
        let running = queue.enter(client(1)).unwrap().turn().await.unwrap();
        {
            let mut given_up = pin!(queue.enter(client(2)).unwrap().turn());
            assert!(pending(given_up.as_mut()).await);
        }
        assert_eq!(queue.checks(), 1);
        drop(running);
        assert_eq!(queue.checks(), 0);
    }
}
