//! Admission: from a listener, host and path to a visit of the workload, whatever the protocol.
//!
//! A request is matched to a route ([`Admission::route`]), and its workload's gate is entered. At a
//! closed gate the visitor wakes the workload as far as its wake policy permits, and is held until
//! the gate opens or refused ([`Admission::admit`]). The protocol renders the refusal.

use std::{cell::RefCell, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use drowse_core::{AdmitError, Cause, Visit, Workload};
use drowse_routes::{Entry, NoRoute, Waiting};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Tables,
    access::{AccessControl, ClosedGateAction, Denied, WakePolicy},
    client::ClientConnection,
    waiting::WaitingRoom,
};

/// Admits the visitors of one thread.
pub(crate) struct Admission {
    tables: RefCell<Cache<Arc<ArcSwap<Tables>>, Arc<Tables>>>,
    access: Arc<AccessControl>,
    room: Arc<WaitingRoom>,
}

/// A visitor at a gate that was closed.
pub(crate) struct Visitor<'a> {
    pub(crate) client: &'a ClientConnection,
    pub(crate) entry: &'a Entry<Arc<Workload>>,
    pub(crate) policy: &'a WakePolicy,
    /// The listener's limit of held visitors.
    pub(crate) held: &'a Arc<Semaphore>,
    /// How the visitor waits. [`Waiting::Auto`] holds it.
    pub(crate) waiting: Waiting,
    /// Time until which the visitor is held, over all instances that it waits for.
    pub(crate) deadline: Instant,
    /// The cause of the wake, for the journal.
    pub(crate) cause: &'a dyn Fn() -> Cause,
}

/// Why a visitor is not admitted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The wake policy denies the wake.
    Denied(Denied),
    /// No further visitor can be held.
    QueueFull,
    /// The held visitor was not let in.
    Turned(AdmitError),
    /// The workload is not ready, and the visitor is not held.
    NotReady,
    /// The client has disconnected.
    ClientGone,
}

// === impl Admission ===

impl Admission {
    pub(crate) fn new(
        tables: Arc<ArcSwap<Tables>>,
        access: Arc<AccessControl>,
        room: Arc<WaitingRoom>,
    ) -> Self {
        Self { tables: RefCell::new(Cache::new(tables)), access, room }
    }

    pub(crate) fn access(&self) -> &AccessControl {
        &self.access
    }

    pub(crate) fn room(&self) -> &WaitingRoom {
        &self.room
    }

    /// The route for this host and path, in the table of this moment.
    pub(crate) fn route(
        &self,
        listener: &str,
        host: &str,
        path: &str,
    ) -> Result<Arc<Entry<Arc<Workload>>>, NoRoute> {
        self.tables.borrow_mut().load().listener(listener).lookup(host, path).cloned()
    }

    /// Wakes the workload if the visitor may, and admits the visitor when the gate opens or
    /// refuses it, as it waits. Dropping the future ends the waiting, not the wake.
    pub(crate) async fn admit(&self, visitor: &Visitor<'_>) -> Result<Visit, Refusal> {
        match visitor.waiting {
            Waiting::Hold | Waiting::Auto => self.hold(visitor).await,
            Waiting::Page | Waiting::Reject => self.wake(visitor, false).await,
        }
    }

    /// Holds the visitor until it is admitted, refused or gone.
    async fn hold(&self, visitor: &Visitor<'_>) -> Result<Visit, Refusal> {
        let name = visitor.entry.value.name();
        let Some(_permit) = self.room.hold(visitor.held) else {
            tracing::debug!(workload = %name, "the queue of waiting visitors is full");
            return self.wake(visitor, false).await.map_err(|refusal| match refusal {
                Refusal::NotReady => Refusal::QueueFull,
                refusal => refusal,
            });
        };
        tracing::debug!(workload = %name, "visitor held");
        match self.wake(visitor, true).await {
            // The wake that it joined has ended without success: decide again.
            Err(Refusal::Turned(AdmitError::NotWaking(_))) => self.wake(visitor, true).await,
            admitted => admitted,
        }
    }

    /// Every wake for a visitor begins here. Wakes the workload as far as the visitor may, then
    /// waits at the gate if the visitor is `held`, otherwise enters the gate if it is open.
    async fn wake(&self, visitor: &Visitor<'_>, held: bool) -> Result<Visit, Refusal> {
        let Visitor { client, entry, policy, deadline, cause, .. } = *visitor;
        let workload = &entry.value;
        let wake = || workload.wake(cause());
        let rate_limiter = self.access.rate_limiter();
        let action = policy.at_closed_gate(rate_limiter, entry, wake).map_err(Refusal::Denied)?;
        if !held {
            if action == ClosedGateAction::Wake {
                wake();
            }
            return policy.enter(workload).ok_or(Refusal::NotReady);
        }
        let admitted = async {
            match action {
                ClosedGateAction::Wake => workload.admit(deadline, cause()).await,
                ClosedGateAction::Join => workload.join(deadline).await,
            }
        };
        tokio::select! {
            biased;
            admitted = admitted => admitted.map_err(Refusal::Turned),
            () = client.closed() => {
                tracing::debug!(workload = %workload.name(), "held visitor has disconnected");
                Err(Refusal::ClientGone)
            }
        }
    }
}
