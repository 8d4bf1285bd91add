//! What an operator has restarted or made anew. What it is to be made of is fetched before its gate
//! closes, where the provider can do that: nobody waits for it then.

use std::sync::Arc;

use super::{Workload, effects::RECREATE, operation_record::CallRecord};
use crate::{
    journal::{Cause, Correlation, OperationKind},
    provider::{Ability, ErrorCode, FETCH, Failure},
    step::{Force, Input, Renewal, State},
};

/// What an operator has ordered.
#[derive(Clone)]
pub(super) struct Order {
    cause: Arc<Cause>,
    force: Force,
    renewal: Renewal,
}

// === impl Order ===

impl Order {
    pub(super) fn new(cause: Cause, force: Force, renewal: Renewal) -> Self {
        let story = cause.correlation.unwrap_or_else(Correlation::random);
        Self { cause: Arc::new(cause.with_correlation(story)), force, renewal }
    }

    fn input(&self) -> Input {
        Input::Renew(self.cause.clone(), self.force, self.renewal)
    }
}

// === impl Workload ===

impl Workload {
    /// Carries an order out, without waiting for its end. `conflict` when another one is carried out
    /// or the workload is on its way to sleep; `unsupported` or `denied` when its provider cannot
    /// recreate, which is known before anything is touched.
    pub(super) fn renew(self: &Arc<Self>, order: Order) -> Result<(), Failure> {
        self.may_recreate(order.renewal)?;
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

    /// What is refused in any case is refused while visitors still come and go.
    fn may_recreate(&self, renewal: Renewal) -> Result<(), Failure> {
        let Renewal::Recreate { .. } = renewal else { return Ok(()) };
        // One that is still being loaded is waited for.
        let Ok(provider) = self.shared.provider(&self.spec.provider) else { return Ok(()) };
        provider.refusal(Ability::Recreate, &self.spec.target).map_or(Ok(()), Err)
    }

    fn fetches_for(&self, order: &Order) -> bool {
        let provider = self.shared.provider(&self.spec.provider);
        order.renewal == Renewal::Recreate { refresh: true }
            && provider.is_ok_and(|it| it.state().abilities.contains(&Ability::Fetch))
    }

    /// Whether what an order needs is being fetched: what is to be done with it has not begun. Its
    /// watchers are told when that changes; ask only with no snapshot of theirs borrowed.
    pub fn is_fetching(&self) -> bool {
        self.with_tasks(|_, tasks| tasks.is_fetching()).unwrap_or(false)
    }

    fn begin_fetch(self: &Arc<Self>, order: Order) -> bool {
        let begun = self.with_tasks(|state, tasks| {
            let may = state.may_be_renewed() && !tasks.is_fetching();
            if may {
                let workload = self.clone();
                tasks.fetch = Some(self.spawn(async move {
                    workload.fetch_and_renew(order).await;
                    workload.with_tasks(|_, tasks| tasks.fetch = None);
                    workload.tell_watchers();
                }));
            }
            may
        });
        begun.unwrap_or(false)
    }

    /// Who waits for the order's end learns from the journal that nothing could be fetched.
    async fn fetch_and_renew(self: &Arc<Self>, order: Order) {
        let chapter = CallRecord::alone(OperationKind::Fetch, &order.cause, self);
        let fetched = self.fetch().await;
        chapter.end(fetched.as_ref().map(|()| None));
        if fetched.is_err() {
            return;
        }
        // It may be on its way to sleep now, which has an end.
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
        self.within(limit, OperationKind::Fetch.as_str(), provider.fetch(&self.spec.target)).await
    }
}
