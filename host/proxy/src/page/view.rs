//! The data of the waiting page.

use serde::Serialize;

use crate::{
    format::approximate,
    progress::{PageState, Progress},
};

/// Minimum seconds between two reloads of a page without scripts.
const MIN_RELOAD: u64 = 2;
/// Maximum seconds between two reloads during a wake.
const MAX_WAKING_RELOAD: f64 = 5.0;
/// Maximum seconds between two reloads after a failed wake.
const MAX_FAILED_RELOAD: f64 = 60.0;

/// The progress and the values derived from it, as templates see them.
#[derive(Debug, Serialize)]
pub(crate) struct View<'a> {
    #[serde(flatten)]
    pub(crate) progress: &'a Progress,
    /// The elapsed and the usual time, as text.
    time: Option<String>,
    /// The elapsed share of the usual time, 0 to 99.
    percent: Option<u8>,
    /// The page offers a link to try again.
    retry: bool,
    /// A sentence that says when to retry, or empty.
    next: String,
    /// The status of a rejected request; none on a waiting page.
    error: Option<&'static str>,
    /// Seconds until a browser without scripts reloads the page. None where the reload would wake
    /// the workload: an abandoned tab would wake it again and again.
    pub(crate) reload: Option<u64>,
    /// `Retry-After` in seconds.
    #[serde(skip)]
    pub(crate) retry_after: u64,
    #[serde(skip)]
    pub(crate) live: Option<LiveUrls>,
}

/// The URLs from which the script gets progress.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LiveUrls {
    /// The event stream.
    pub(crate) events: String,
    /// The current state as JSON.
    pub(crate) state: String,
}

// === impl View ===

impl<'a> View<'a> {
    pub(crate) fn new(progress: &'a Progress, live: Option<LiveUrls>) -> Self {
        let retry_after = retry_after(progress);
        let time = progress.elapsed.map(|elapsed| {
            let usually =
                progress.expected.map(|usual| format!(", usually about {}", approximate(usual)));
            format!("{} so far{}", approximate(elapsed.floor()), usually.unwrap_or_default())
        });
        let percent = progress.elapsed.zip(progress.expected).map(|(elapsed, expected)| {
            // At most 99, so the cast is exact.
            (100.0 * progress_share(elapsed / expected.max(0.001))) as u8
        });
        let (retry, next) = match progress.state {
            PageState::Failed => {
                (true, format!("It can be tried again in {}.", approximate(retry_after as f64)))
            }
            PageState::Asleep => (true, "It is not being woken.".to_owned()),
            PageState::Working | PageState::Ready | PageState::Notice => (false, String::new()),
        };
        Self {
            progress,
            time,
            percent,
            retry,
            next,
            error: None,
            reload: (!retry).then_some(retry_after),
            retry_after,
            live,
        }
    }
}

/// The share that a progress bar shows: it slows down near the end and never reaches 1.
fn progress_share(share: f64) -> f64 {
    if share <= 0.9 { share } else { 0.9 + 0.09 * (1.0 - (-3.0 * (share - 0.9)).exp()) }
}

fn retry_after(progress: &Progress) -> u64 {
    let seconds = match (&progress.failure, progress.elapsed.zip(progress.expected)) {
        (Some(failure), _) if progress.state == PageState::Failed => {
            failure.retry_in.map_or(0.0, |left| left.floor() + 1.0).min(MAX_FAILED_RELOAD)
        }
        (_, Some((elapsed, expected))) => ((expected - elapsed) / 3.0).min(MAX_WAKING_RELOAD),
        _ => 0.0,
    };
    // At most 60, so the cast is exact.
    (seconds.max(0.0).ceil() as u64).max(MIN_RELOAD)
}
