//! A visitor at a closed gate: held, shown the waiting page or rejected, as its route says.

use std::{sync::Arc, time::Duration};

use drowse_core::{Cause, Source, Turned, Visit, Workload};
use drowse_routes::{Entry, Waiting};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::{sync::Semaphore, time::Instant};

use super::{room::WaitingRoom, urls::PageLocation};
use crate::{
    access::{AccessControl, ClosedGateAction, WakePolicy},
    answer::{Problem, can_be_shown, is_navigation, waiting_page},
    client::Client,
    door::Ended,
    progress::explain,
};

/// `Retry-After` when the failure has no retry time of its own.
const DEFAULT_RETRY: Duration = Duration::from_secs(5);

/// A request at a gate that was closed. Its body is unread.
pub(crate) struct Visitor<'a> {
    pub(crate) room: &'a WaitingRoom,
    pub(crate) access: &'a AccessControl,
    pub(crate) client: &'a Client,
    /// The listener's name.
    pub(crate) listener: &'a str,
    /// The listener's limit of held visitors.
    pub(crate) held: &'a Arc<Semaphore>,
    pub(crate) entry: &'a Entry<Arc<Workload>>,
    pub(crate) policy: &'a WakePolicy,
    pub(crate) host: &'a HeaderValue,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Time until which the visitor is held, over all instances that it waits for.
    pub(crate) deadline: Instant,
}

// === impl Visitor ===

impl Visitor<'_> {
    /// Admits the visitor when the gate opens, or ends the request as its route says. In either
    /// case the workload is woken if the policy permits it.
    pub(crate) async fn admit(&self) -> Result<Visit, Ended> {
        let action = self.decide()?;
        let waiting = match self.entry.route.waiting {
            Waiting::Auto if is_navigation(self.method, self.headers) => Waiting::Page,
            Waiting::Auto => Waiting::Hold,
            // A page cannot replace the response: a body or a protocol switch would be lost.
            Waiting::Page if !can_be_shown(self.method, self.headers) => Waiting::Hold,
            configured => configured,
        };
        if waiting == Waiting::Hold {
            return self.hold(action).await;
        }
        self.wake(action);
        if let Some(visit) = self.policy.enter(&self.entry.value) {
            return Ok(visit);
        }
        if waiting == Waiting::Page { Err(self.page().await) } else { Err(self.reject()) }
    }

    /// Waits until the visitor is admitted, refused or gone.
    async fn hold(&self, action: ClosedGateAction) -> Result<Visit, Ended> {
        let workload = &self.entry.value;
        let name = workload.name();
        let Some(_permit) = self.room.hold(self.held) else {
            self.wake(action);
            tracing::debug!(workload = %name, "the queue of waiting visitors is full");
            let detail =
                format!("{name} is not ready yet, and the queue of waiting visitors is full.");
            return Err(self.unavailable("queue-full", detail, DEFAULT_RETRY));
        };
        tracing::debug!(workload = %name, "visitor held");
        let mut admitted = self.wait(action).await?;
        if let Err(Turned::Unwoken(_)) = admitted {
            // The wake that it joined has ended without success: decide again.
            let action = self.decide()?;
            admitted = self.wait(action).await?;
        }
        let problem = match admitted {
            Ok(visit) => return Ok(visit),
            Err(Turned::Failed(failure, retry)) => {
                let detail = format!("{name} could not be woken. {}", explain(&failure));
                let retry = retry.unwrap_or(DEFAULT_RETRY);
                return Err(self.unavailable("wake-failed", detail, retry));
            }
            Err(Turned::Unwoken(phase)) => {
                let detail = format!("{name} is {phase} and is not being woken.");
                return Err(self.unavailable("not-ready", detail, DEFAULT_RETRY));
            }
            Err(Turned::TimedOut(phase)) => {
                let limit = self.entry.route.hold_timeout;
                let detail = format!("{name} is still {phase} after {limit:?}.");
                Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
                    .code("hold-timeout")
                    .retry_after(DEFAULT_RETRY)
            }
        };
        Err(problem.during(workload).into())
    }

    async fn wait(&self, action: ClosedGateAction) -> Result<Result<Visit, Turned>, Ended> {
        let workload = &self.entry.value;
        let admitted = async {
            match action {
                ClosedGateAction::Wake => workload.admit(self.deadline, self.cause()).await,
                ClosedGateAction::Join => workload.join(self.deadline).await,
            }
        };
        tokio::select! {
            biased;
            admitted = admitted => Ok(admitted),
            () = self.client.socket.clone().gone() => {
                tracing::debug!(workload = %workload.name(), "held visitor has disconnected");
                Err(Ended::Gone)
            }
        }
    }

    async fn page(&self) -> Ended {
        let Self { listener, host, .. } = *self;
        let location = PageLocation { listener, host, path: &self.entry.route.path };
        let (page, retry_after) = self.room.page(&self.entry.value, &location).await;
        let page = waiting_page(page, self.room.theme(), retry_after);
        Ended::Response(Box::new(page))
    }

    fn reject(&self) -> Ended {
        let workload = &self.entry.value;
        let (name, snapshot) = (workload.name(), workload.snapshot());
        let (code, detail) = match &snapshot.failure {
            Some(failure) => {
                ("wake-failed", format!("{name} could not be woken. {}", explain(failure)))
            }
            None => ("not-ready", format!("{name} is {} and not ready yet.", snapshot.phase)),
        };
        self.unavailable(code, detail, snapshot.retry_in().unwrap_or(DEFAULT_RETRY))
    }

    fn unavailable(&self, code: &'static str, detail: String, retry: Duration) -> Ended {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .code(code)
            .during(&self.entry.value)
            .retry_after(retry)
            .into()
    }

    fn decide(&self) -> Result<ClosedGateAction, Ended> {
        let rate_limiter = self.access.rate_limiter();
        self.policy.at_closed_gate(rate_limiter, self.entry, || self.cause())
    }

    fn wake(&self, action: ClosedGateAction) {
        if action == ClosedGateAction::Wake {
            self.entry.value.wake(self.cause());
        }
    }

    /// The cause of the wake, for the journal: method and host.
    fn cause(&self) -> Cause {
        let host = self.host.to_str().unwrap_or_default();
        Cause::new(Source::Request).because_of(format!("{} {host}", self.method))
    }
}
