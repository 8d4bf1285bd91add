//! A fair, bounded queue for password checks.
//!
//! A check occupies a core for about a tenth of a second, so few run at a time and the others
//! wait. The checks of one client run one after the other: a client that requests many has at most
//! one of them waiting for a permit, and another client waits for at most one of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum checks of one client that wait or run. A browser opens six connections at a time.
pub(super) const MAX_PER_CLIENT: usize = 16;
/// Maximum checks of all clients that wait or run.
const MAX_TOTAL: usize = 256;

/// The checks that wait and run, for all user files.
pub(super) struct PasswordQueue {
    hash_permits: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The account to which a check is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// The client's network, see [`client_network`](crate::access::client_network).
    Client(IpAddr),
    /// Credentials that were correct before, by their digest. They have an account of their own,
    /// so that other users at the same address do not delay them.
    Credentials([u8; 32]),
}

/// The queue has no room for another check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueFull {
    /// The account has reached its maximum.
    Account,
    /// All accounts together have reached the maximum.
    Total,
}

/// One check, from its arrival to its end.
pub(super) struct Check {
    queue: Arc<PasswordQueue>,
    account: Account,
    account_permit: Arc<Semaphore>,
}

/// Permission to run a check. Dropping it lets the next check run.
pub(super) struct RunPermit {
    _hash: OwnedSemaphorePermit,
    _account: OwnedSemaphorePermit,
    _check: Check,
}

#[derive(Default)]
struct State {
    total: usize,
    accounts: HashMap<Account, AccountState>,
}

/// The checks of one account.
struct AccountState {
    checks: usize,
    /// One permit: the checks of an account run one after the other.
    permit: Arc<Semaphore>,
}

// === impl PasswordQueue ===

impl PasswordQueue {
    /// `concurrency` is the maximum number of checks that run at the same time.
    pub(super) fn new(concurrency: usize) -> Arc<Self> {
        let hash_permits = Arc::new(Semaphore::new(concurrency));
        Arc::new(Self { hash_permits, state: Mutex::default() })
    }

    /// Queues one check for this account.
    pub(super) fn enter(self: &Arc<Self>, account: Account) -> Result<Check, QueueFull> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = state.accounts.get(&account).map_or(0, |held| held.checks);
        if checks >= MAX_PER_CLIENT {
            return Err(QueueFull::Account);
        }
        if state.total >= MAX_TOTAL {
            return Err(QueueFull::Total);
        }
        state.total += 1;
        let new = || AccountState { checks: 0, permit: Arc::new(Semaphore::new(1)) };
        let held = state.accounts.entry(account).or_insert_with(new);
        held.checks += 1;
        Ok(Check { queue: self.clone(), account, account_permit: held.permit.clone() })
    }

    #[cfg(test)]
    pub(super) fn close(&self) {
        self.hash_permits.close();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().unwrap().total
    }

    #[cfg(test)]
    pub(super) async fn acquire_hash_permit(&self) -> OwnedSemaphorePermit {
        self.hash_permits.clone().acquire_owned().await.unwrap()
    }
}

// === impl Check ===

impl Check {
    /// Waits until the check may run. None if the queue was closed.
    pub(super) async fn ready(self) -> Option<RunPermit> {
        // The account's permit first: an account waits for a hash permit with one check only.
        let account = self.account_permit.clone().acquire_owned().await.ok()?;
        let hash = self.queue.hash_permits.clone().acquire_owned().await.ok()?;
        Some(RunPermit { _hash: hash, _account: account, _check: self })
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.total -= 1;
        if let Some(held) = state.accounts.get_mut(&self.account) {
            held.checks -= 1;
            if held.checks == 0 {
                state.accounts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use futures_util::poll;

    use super::*;

    fn client(last: u8) -> Account {
        Account::Client(IpAddr::from([192, 0, 2, last]))
    }

    async fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        matches!(poll!(future), Poll::Pending)
    }

    #[tokio::test]
    async fn a_client_with_many_checks_delays_another_client_by_one_of_them() {
        let queue = PasswordQueue::new(1);
        let running = queue.enter(client(1)).unwrap().ready().await.unwrap();
        let mut second = pin!(queue.enter(client(1)).unwrap().ready());
        assert!(is_pending(second.as_mut()).await);
        let waiting: Vec<_> =
            std::iter::from_fn(|| queue.enter(client(1)).ok()).take(1000).collect();
        assert_eq!(waiting.len(), MAX_PER_CLIENT - 2);
        assert_eq!(queue.enter(client(1)).err(), Some(QueueFull::Account));
        let mut other = pin!(queue.enter(client(2)).unwrap().ready());
        assert!(is_pending(other.as_mut()).await);
        drop(running);
        assert!(is_pending(second.as_mut()).await, "the first client's second check came later");
        let Poll::Ready(Some(permit)) = poll!(other.as_mut()) else { panic!("its check is next") };
        drop(permit);
        assert!(matches!(poll!(second.as_mut()), Poll::Ready(Some(_))));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_forgets_accounts_without_checks() {
        let queue = PasswordQueue::new(1);
        let mut held = Vec::new();
        for last in 0..u8::try_from(MAX_TOTAL / MAX_PER_CLIENT).unwrap() {
            for _ in 0..MAX_PER_CLIENT {
                held.push(queue.enter(client(last)).unwrap());
            }
        }
        assert_eq!(queue.enter(client(255)).err(), Some(QueueFull::Total));
        held.pop();
        held.push(queue.enter(client(255)).unwrap());
        drop(held);
        let state = queue.state.lock().unwrap();
        assert!(state.total == 0 && state.accounts.is_empty());
    }

    #[tokio::test]
    async fn a_cancelled_check_leaves_the_queue() {
        let queue = PasswordQueue::new(1);
        let running = queue.enter(client(1)).unwrap().ready().await.unwrap();
        {
            let mut cancelled = pin!(queue.enter(client(2)).unwrap().ready());
            assert!(is_pending(cancelled.as_mut()).await);
        }
        assert_eq!(queue.len(), 1);
        drop(running);
        assert_eq!(queue.len(), 0);
    }
}
