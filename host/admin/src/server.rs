//! The API itself. What it controls is for the binary to say: it implements [`Control`].

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{StatusCode, Uri},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use drowse_core::{Entry, ErrorCode, Failure, PhaseChange, WorkloadStatus};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    problem::Problem,
    query,
    socket::ControlSocket,
    types::{Action, Order, RouterStatus},
};

#[cfg(test)]
mod tests;

/// What the API controls.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The whole router.
    fn status(&self) -> RouterStatus;

    /// One workload. `not_found` when there is none of this name.
    fn workload(&self, name: &str) -> Result<WorkloadStatus, Failure>;

    /// Does to a workload what is ordered. With `wait` it returns when that is done (a workload that
    /// is woken, restarted or was awake is ready), or a failure that says why it is not,
    /// [`ErrorCode::Timeout`] when it takes longer.
    async fn operate(&self, name: &str, order: Order) -> Result<WorkloadStatus, Failure>;

    /// The latest operations, newest first, of one workload if one is named. `not_found` when
    /// there is no such workload.
    fn operations(&self, workload: Option<&str>, limit: usize) -> Result<Vec<Entry>, Failure>;

    /// Phase changes from now on.
    fn changes(&self) -> broadcast::Receiver<PhaseChange>;
}

type Shared = Arc<dyn Control>;

/// Serves the API until `end` resolves and the requests in flight are answered, then removes the
/// socket. Dropping it stops the listening at once.
pub async fn serve(
    socket: ControlSocket,
    control: Arc<dyn Control>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (listener, held) = socket.into_parts();
    let served = axum::serve(listener, router(control)).with_graceful_shutdown(end).await;
    drop(held);
    served
}

pub(crate) fn router(control: Arc<dyn Control>) -> Router {
    let router = Action::GENTLE.into_iter().fold(Router::new(), |router, action| {
        let path = format!("/v0/workloads/{{name}}/{}", action.verb());
        router.route(&path, post(move |control, name, query| operate(action, control, name, query)))
    });
    router
        .route("/v0/status", get(status))
        .route("/v0/workloads/{name}", get(workload))
        .route("/v0/operations", get(operations))
        .route("/v0/events", get(events))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(control)
}

async fn status(State(control): State<Shared>) -> Json<RouterStatus> {
    Json(control.status())
}

async fn workload(
    State(control): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<WorkloadStatus>, Problem> {
    Ok(Json(control.workload(&name)?))
}

async fn operate(
    action: Action,
    State(control): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<WorkloadStatus>, Problem> {
    let order = query::order(query.as_deref(), action)?;
    Ok(Json(control.operate(&name, order).await?))
}

async fn operations(
    State(control): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Entry>>, Problem> {
    let (workload, limit) = query::operations(query.as_deref())?;
    Ok(Json(control.operations(workload.as_deref(), limit)?))
}

/// Phase changes as they happen: each an event `phase` with a [`PhaseChange`] as data; `missed`
/// with a number when the reader was too slow for some.
async fn events(State(control): State<Shared>) -> impl IntoResponse {
    let changes = futures_util::stream::unfold(control.changes(), |mut changes| async move {
        let event = match changes.recv().await {
            Ok(change) => Event::default().event("phase").json_data(&change),
            Err(RecvError::Lagged(missed)) => {
                Ok(Event::default().event("missed").data(missed.to_string()))
            }
            Err(RecvError::Closed) => return None,
        };
        Some((event, changes))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}

async fn nothing_here(uri: Uri) -> Problem {
    let path = uri.path();
    Problem::new(ErrorCode::NotFound, format!("{path}: the admin API has no such path"))
}

async fn wrong_method(uri: Uri) -> Problem {
    let detail = format!("{}: the admin API does not answer this method here", uri.path());
    Problem::new(ErrorCode::InvalidRequest, detail).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
