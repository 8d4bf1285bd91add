//! The API itself. What it controls is for the binary to say: it implements [`Control`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{StatusCode, Uri},
    routing::{get, post},
};
use drowse_core::{ErrorCode, Failure, WorkloadStatus};

use crate::{problem::Problem, socket::ControlSocket, types::RouterStatus};

#[cfg(test)]
mod tests;

/// Nobody waits for longer than this in one request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What the API controls.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The whole router.
    fn status(&self) -> RouterStatus;

    /// Wakes a workload. With `wait` it returns when the workload is ready, or a failure that
    /// says why it is not, [`ErrorCode::Timeout`] when it takes longer.
    async fn wake(&self, name: &str, wait: Option<Duration>) -> Result<WorkloadStatus, Failure>;

    /// Puts a workload to sleep. With `wait` it returns when the workload sleeps.
    async fn sleep(&self, name: &str, wait: Option<Duration>) -> Result<WorkloadStatus, Failure>;
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
    Router::new()
        .route("/v0/status", get(status))
        .route("/v0/workloads/{name}/wake", post(wake))
        .route("/v0/workloads/{name}/sleep", post(sleep))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(control)
}

async fn status(State(control): State<Shared>) -> Json<RouterStatus> {
    Json(control.status())
}

async fn wake(
    State(control): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<WorkloadStatus>, Problem> {
    let wait = wait(query.as_deref())?;
    Ok(Json(control.wake(&name, wait).await?))
}

async fn sleep(
    State(control): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<WorkloadStatus>, Problem> {
    let wait = wait(query.as_deref())?;
    Ok(Json(control.sleep(&name, wait).await?))
}

async fn nothing_here(uri: Uri) -> Problem {
    let path = uri.path();
    Problem::new(ErrorCode::NotFound, format!("{path}: the admin API has no such path"))
}

async fn wrong_method(uri: Uri) -> Problem {
    let detail = format!("{}: the admin API does not answer this method here", uri.path());
    Problem::new(ErrorCode::InvalidRequest, detail).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// `wait=SECONDS`, with decimals if need be.
fn wait(query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let mut wait = None;
    for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name != "wait" {
            let detail = format!("the only parameter is `wait`, not {name:?}");
            return Err(Problem::new(ErrorCode::InvalidRequest, detail));
        }
        let seconds: Option<f64> = value.parse().ok();
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match duration {
            Some(duration) if duration <= LONGEST_WAIT => wait = Some(duration),
            _ => {
                let detail = format!("wait={value:?}: write seconds, such as wait=60, up to 3600");
                return Err(Problem::new(ErrorCode::InvalidRequest, detail));
            }
        }
    }
    Ok(wait)
}
