//! A visitor at a closed gate: held, shown the page or sent away, as its route says.

use std::{sync::Arc, time::Duration};

use drowse_core::{Cause, Source, Turned, Visit, Workload};
use drowse_routes::{Entry, Waiting};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::{explain, live};
use crate::{
    answer::{Problem, can_be_shown, is_navigation, waiting_page},
    client::Client,
    door::{Door, Ended},
    who::{Knock, May},
};

/// When a failure says nothing of it, trying again is worth it after so long.
const RETRY: Duration = Duration::from_secs(5);

/// Somebody who wants in where nobody can come in yet. Its body is unread.
pub(crate) struct Visitor<'a> {
    pub(crate) door: &'a Door,
    pub(crate) client: &'a Client,
    pub(crate) entry: &'a Entry<Arc<Workload>>,
    pub(crate) knock: &'a Knock,
    pub(crate) host: &'a HeaderValue,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Until then it is held, however many lives it waits for.
    pub(crate) deadline: Instant,
}

// === impl Visitor ===

impl Visitor<'_> {
    /// Lets the visitor in, or does with it what its route says. Whatever that is, the workload is
    /// woken if this one may wake it.
    pub(crate) async fn let_in(&self) -> Result<Visit, Ended> {
        let may = self.ask()?;
        let waiting = match self.entry.route.waiting {
            Waiting::Auto if is_navigation(self.method, self.headers) => Waiting::Page,
            Waiting::Auto => Waiting::Hold,
            // What a page cannot stand for, because a body or a switch of protocols would be lost.
            Waiting::Page if !can_be_shown(self.method, self.headers) => Waiting::Hold,
            said => said,
        };
        if waiting == Waiting::Hold {
            return self.hold(may).await;
        }
        self.wake(may);
        if let Some(visit) = self.knock.enter(&self.entry.value) {
            return Ok(visit);
        }
        if waiting == Waiting::Page { Err(self.page().await) } else { Err(self.sent_away()) }
    }

    /// Waits until it is let in, turned away or gone.
    async fn hold(&self, may: May) -> Result<Visit, Ended> {
        let workload = &self.entry.value;
        let name = workload.name();
        let Some(_place) = self.door.worker.feeds.lobby().hold(&self.door.held) else {
            self.wake(may);
            tracing::debug!(workload = %name, "the queue of waiting visitors is full");
            let detail =
                format!("{name} is not ready yet, and the queue of waiting visitors is full.");
            return Err(self.unavailable("queue-full", detail, RETRY));
        };
        tracing::debug!(workload = %name, "visitor held");
        let mut admitted = self.admitted(may).await?;
        if let Err(Turned::Unwoken(_)) = admitted {
            // The wake that it had joined came to nothing, so it stands here for itself.
            let may = self.ask()?;
            admitted = self.admitted(may).await?;
        }
        let problem = match admitted {
            Ok(visit) => return Ok(visit),
            Err(Turned::Failed(failure, retry)) => {
                let detail = format!("{name} could not be woken. {}", explain(&failure));
                return Err(self.unavailable("wake-failed", detail, retry.unwrap_or(RETRY)));
            }
            Err(Turned::Unwoken(phase)) => {
                let detail = format!("{name} is {phase}, and nobody is waking it.");
                return Err(self.unavailable("not-ready", detail, RETRY));
            }
            Err(Turned::TimedOut(phase)) => {
                let patience = self.entry.route.patience;
                let detail = format!("{name} is still {phase} after {patience:?}.");
                Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
                    .code("patience-over")
                    .retry_after(RETRY)
            }
        };
        Err(problem.during(workload).into())
    }

    async fn admitted(&self, may: May) -> Result<Result<Visit, Turned>, Ended> {
        let workload = &self.entry.value;
        let admitted = async {
            match may {
                May::Wake => workload.admit(self.deadline, self.cause()).await,
                May::Join => workload.join(self.deadline).await,
            }
        };
        tokio::select! {
            biased;
            admitted = admitted => Ok(admitted),
            () = self.client.socket.clone().gone() => {
                tracing::debug!(workload = %workload.name(), "held visitor has gone");
                Err(Ended::Gone)
            }
        }
    }

    async fn page(&self) -> Ended {
        let listener = &self.door.settings.name;
        let spot = live::Spot { listener, host: self.host, path: &self.entry.route.path };
        let lobby = self.door.worker.feeds.lobby();
        let (page, reload) = lobby.page(&self.entry.value, &spot).await;
        let page = waiting_page(page, lobby.theme(), reload);
        Ended::Response(Box::new(page))
    }

    fn sent_away(&self) -> Ended {
        let workload = &self.entry.value;
        let (name, snapshot) = (workload.name(), workload.snapshot());
        let (code, detail) = match &snapshot.failure {
            Some(failure) => {
                ("wake-failed", format!("{name} could not be woken. {}", explain(failure)))
            }
            None => ("not-ready", format!("{name} is {} and not ready yet.", snapshot.phase)),
        };
        self.unavailable(code, detail, snapshot.retry_in().unwrap_or(RETRY))
    }

    fn unavailable(&self, code: &'static str, detail: String, retry: Duration) -> Ended {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .code(code)
            .during(&self.entry.value)
            .retry_after(retry)
            .into()
    }

    fn ask(&self) -> Result<May, Ended> {
        self.knock.ask(&self.door.worker.who, self.entry, || self.cause())
    }

    fn wake(&self, may: May) {
        if may == May::Wake {
            self.entry.value.wake(self.cause());
        }
    }

    /// For the operator: who wanted it awake.
    fn cause(&self) -> Cause {
        let host = self.host.to_str().unwrap_or_default();
        Cause::new(Source::Request).because_of(format!("{} {host}", self.method))
    }
}
