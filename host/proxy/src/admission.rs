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
        let action = self.decide(visitor)?;
        match visitor.waiting {
            Waiting::Hold | Waiting::Auto => self.hold(visitor, action).await,
            Waiting::Page | Waiting::Reject => self.enter(visitor, action),
        }
    }

    /// Holds the visitor until it is admitted, refused or gone.
    async fn hold(
        &self,
        visitor: &Visitor<'_>,
        action: ClosedGateAction,
    ) -> Result<Visit, Refusal> {
        let name = visitor.entry.value.name();
        let Some(_permit) = self.room.hold(visitor.held) else {
            tracing::debug!(workload = %name, "the queue of waiting visitors is full");
            return self.enter(visitor, action).map_err(|_| Refusal::QueueFull);
        };
        tracing::debug!(workload = %name, "visitor held");
        match self.wait(visitor, action).await {
            // The wake that it joined has ended without success: decide again.
            Err(Refusal::Turned(AdmitError::NotWaking(_))) => {
                let action = self.decide(visitor)?;
                self.wait(visitor, action).await
            }
            admitted => admitted,
        }
    }

    /// Returns whether the visitor may wake the workload. Every wake for a visitor is decided here.
    fn decide(&self, visitor: &Visitor<'_>) -> Result<ClosedGateAction, Refusal> {
        let Visitor { entry, policy, cause, .. } = *visitor;
        let wake = || entry.value.wake(cause());
        policy.at_closed_gate(self.access.rate_limiter(), entry, wake).map_err(Refusal::Denied)
    }

    /// Wakes the workload if it is to be woken, and enters the gate if that is open already.
    fn enter(&self, visitor: &Visitor<'_>, action: ClosedGateAction) -> Result<Visit, Refusal> {
        let workload = &visitor.entry.value;
        if action == ClosedGateAction::Wake {
            workload.wake((visitor.cause)());
        }
        visitor.policy.enter(workload).ok_or(Refusal::NotReady)
    }

    /// Wakes the workload if it is to be woken, and waits at its gate.
    async fn wait(
        &self,
        visitor: &Visitor<'_>,
        action: ClosedGateAction,
    ) -> Result<Visit, Refusal> {
        let Visitor { client, entry, deadline, cause, .. } = *visitor;
        let workload = &entry.value;
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
