//! The time limit of a probe.

use std::{io, time::Duration};

use tokio::time::timeout;

/// Maximum time of one probe.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Runs a probe. The error names the attempt and the reason.
pub(super) async fn within_limit<T>(
    attempt: &str,
    probe: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match timeout(LIMIT, probe).await {
        Ok(result) => result.map_err(|error| format!("{attempt}: {error}")),
        Err(_) => Err(format!("{attempt}: no answer within {} s", LIMIT.as_secs())),
    }
}
