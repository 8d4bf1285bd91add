//! The HTTP server of the API. The binary implements [`Control`], which the API calls.

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
    types::{Action, OperationRequest, RouterStatus},
};

#[cfg(test)]
mod tests;

/// The router as the API controls it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The status of the router.
    fn status(&self) -> RouterStatus;

    /// The status of one workload. Fails with `not_found` if no workload has this name.
    fn workload(&self, name: &str) -> Result<WorkloadStatus, Failure>;

    /// Operates on a workload. With `wait` it returns when the operation is complete (a workload that
    /// is woken, restarted, or recreated while awake is ready), or fails with the reason;
    /// [`ErrorCode::Timeout`] if the operation takes longer than `wait`.
    async fn operate(
        &self,
        name: &str,
        request: OperationRequest,
    ) -> Result<WorkloadStatus, Failure>;

    /// The latest operations, newest first, of all workloads or of one. Fails with `not_found` if no
    /// workload has this name.
    fn operations(&self, workload: Option<&str>, limit: usize) -> Result<Vec<Entry>, Failure>;

    /// Subscribes to phase changes.
    fn changes(&self) -> broadcast::Receiver<PhaseChange>;
}

type Shared = Arc<dyn Control>;

/// Serves the API until `end` resolves and all requests in flight are complete, then removes the
/// socket. Dropping the future closes the listener at once.
pub async fn serve(
    socket: ControlSocket,
    control: Arc<dyn Control>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (listener, files) = socket.into_parts();
    let served = axum::serve(listener, router(control)).with_graceful_shutdown(end).await;
    drop(files);
    served
}

pub(crate) fn router(control: Arc<dyn Control>) -> Router {
    let router = Action::ALL.into_iter().fold(Router::new(), |router, action| {
        let path = format!("/v0/workloads/{{name}}/{}", action.verb());
        router.route(&path, post(move |control, name, query| operate(action, control, name, query)))
    });
    router
        .route("/v0/status", get(status))
        .route("/v0/workloads/{name}", get(workload))
        .route("/v0/operations", get(operations))
        .route("/v0/events", get(events))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
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
    let request = query::operation_request(query.as_deref(), action)?;
    Ok(Json(control.operate(&name, request).await?))
}

async fn operations(
    State(control): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Entry>>, Problem> {
    let (workload, limit) = query::operations(query.as_deref())?;
    Ok(Json(control.operations(workload.as_deref(), limit)?))
}

/// Streams phase changes: events `phase` with a [`PhaseChange`] as data, and `missed` with the number
/// of events that a slow client has missed.
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

async fn not_found(uri: Uri) -> Problem {
    let path = uri.path();
    Problem::new(ErrorCode::NotFound, format!("{path}: the admin API has no such path"))
}

async fn method_not_allowed(uri: Uri) -> Problem {
    let detail = format!("{}: the admin API has no such method for this path", uri.path());
    Problem::new(ErrorCode::InvalidRequest, detail).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
