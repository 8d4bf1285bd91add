//! Restarting and recreating a workload on an operator's order. Where the provider can, the new
//! image is fetched while the gate is still open, so that no visitor waits for it.

use std::sync::Arc;

use super::{Workload, effects::RECREATE, operation_record::CallRecord};
use crate::{
    journal::{Cause, Correlation, OperationKind},
    provider::{Ability, ErrorCode, FETCH, Failure},
    step::{Force, Input, Renewal, State},
};

/// An operator's order to restart or recreate a workload.
#[derive(Clone)]
pub(super) struct RenewalOrder {
    cause: Arc<Cause>,
    force: Force,
    renewal: Renewal,
}

// === impl RenewalOrder ===

impl RenewalOrder {
    pub(super) fn new(cause: Cause, force: Force, renewal: Renewal) -> Self {
        let correlation = cause.correlation.unwrap_or_else(Correlation::random);
        Self { cause: Arc::new(cause.with_correlation(correlation)), force, renewal }
    }

    fn input(&self) -> Input {
        Input::Renew(self.cause.clone(), self.force, self.renewal)
    }
}

// === impl Workload ===

impl Workload {
    /// Begins a renewal and returns at once. `conflict` when one is in progress, or the workload is
    /// going to sleep; `unsupported` or `denied` when its provider cannot recreate it, which is
    /// known before anything is changed.
    pub(super) fn renew(self: &Arc<Self>, order: RenewalOrder) -> Result<(), Failure> {
        self.check_recreate(order.renewal)?;
        let begun = match self.fetches_for(&order) {
            true => self.begin_fetch(order),
            false => !self.is_fetching() && self.apply_if(State::may_be_renewed, order.input()),
        };
        if begun {
            return Ok(());
        }
        let name = self.name();
        let message = match self.is_fetching() || self.state().is_renewed() {
            true => format!("{name} is being restarted or recreated already: wait for its end"),
            false => format!("{name} is on its way to sleep: try again when it sleeps"),
        };
        Err(Failure::new(ErrorCode::Conflict, message))
    }

    fn check_recreate(&self, renewal: Renewal) -> Result<(), Failure> {
        let Renewal::Recreate { .. } = renewal else { return Ok(()) };
        // The call waits for a provider that is still being loaded.
        let Ok(provider) = self.shared.provider(&self.spec.provider) else { return Ok(()) };
        provider.refusal(Ability::Recreate, &self.spec.target).map_or(Ok(()), Err)
    }

    fn fetches_for(&self, order: &RenewalOrder) -> bool {
        let provider = self.shared.provider(&self.spec.provider);
        order.renewal == Renewal::Recreate { refresh: true }
            && provider.is_ok_and(|it| it.state().abilities.contains(&Ability::Fetch))
    }

    /// Whether the image for a renewal is being fetched; the renewal begins after that. Watchers of
    /// the snapshot are woken when this changes. Call it with no snapshot borrowed.
    pub fn is_fetching(&self) -> bool {
        self.with_tasks(|_, tasks| tasks.is_fetching()).unwrap_or(false)
    }

    fn begin_fetch(self: &Arc<Self>, order: RenewalOrder) -> bool {
        let begun = self.with_tasks(|state, tasks| {
            let may = state.may_be_renewed() && !tasks.is_fetching();
            if may {
                let workload = self.clone();
                tasks.fetch = Some(self.spawn(async move {
                    workload.fetch_and_renew(order).await;
                    workload.with_tasks(|_, tasks| tasks.fetch = None);
                    workload.runner.notify_watchers();
                }));
            }
            may
        });
        begun.unwrap_or(false)
    }

    /// A failed fetch is journalled, and ends the renewal.
    async fn fetch_and_renew(self: &Arc<Self>, order: RenewalOrder) {
        let call = CallRecord::standalone(OperationKind::Fetch, &order.cause, self);
        let fetched = self.fetch().await;
        call.end(fetched.as_ref().map(|()| None));
        if fetched.is_err() {
            return;
        }
        // Refused while the workload goes to sleep.
        let mut watch = self.watch();
        while !self.apply_if(State::may_be_renewed, order.input()) {
            if watch.changed().await.is_err() {
                return;
            }
        }
    }

    async fn fetch(&self) -> Result<(), Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let limit = FETCH.saturating_add(RECREATE);
        let verb = OperationKind::Fetch.as_str();
        self.within(limit, verb, provider.fetch(&self.spec.target)).await
    }
}
