//! What a theme's template sees.

use serde::Serialize;

use crate::{
    waiting::{Outlook, Progress},
    words::spoken,
};

/// A page without a script is looked at again after so many seconds.
const RELOAD: u64 = 2;
/// When it usually takes longer, less often.
const RELOAD_SLOWLY: f64 = 5.0;
/// The longest time between two looks.
const RELOAD_LAST: f64 = 60.0;

/// Everything that a template may use. The progress, and what follows from it.
#[derive(Debug, Serialize)]
pub(crate) struct View<'a> {
    #[serde(flatten)]
    pub(crate) progress: &'a Progress,
    /// How long it has taken and how long it usually takes.
    time: Option<String>,
    /// How much of the usual time is over, from 0 to 99.
    percent: Option<u8>,
    /// The visitor may want to try again.
    retry: bool,
    /// When that happens by itself.
    next: String,
    /// The status of an answer that is no waiting page.
    error: Option<&'static str>,
    /// A page without a script loads itself again after so many seconds. Not where that would
    /// wake: it would do so again and again before nobody's eyes.
    pub(crate) reload: Option<u64>,
    /// It is worth loading again after so many seconds.
    #[serde(skip)]
    pub(crate) again: u64,
    #[serde(skip)]
    pub(crate) live: Option<Live>,
}

/// Where the script learns what has changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Live {
    /// The stream.
    pub(crate) events: String,
    /// One look.
    pub(crate) state: String,
}

// === impl View ===

impl<'a> View<'a> {
    pub(crate) fn new(progress: &'a Progress, live: Option<Live>) -> Self {
        let again = again(progress);
        let time = progress.elapsed.map(|elapsed| {
            let usually =
                progress.expected.map(|usual| format!(", usually about {}", spoken(usual)));
            format!("{} so far{}", spoken(elapsed.floor()), usually.unwrap_or_default())
        });
        let percent = progress.elapsed.zip(progress.expected).map(|(elapsed, expected)| {
            // At most 99, so it fits.
            (100.0 * part(elapsed / expected.max(0.001))) as u8
        });
        let (retry, next) = match progress.state {
            Outlook::Failed => {
                (true, format!("It can be tried again in {}.", spoken(again as f64)))
            }
            Outlook::Asleep => (true, "Nobody is waking it now.".to_owned()),
            Outlook::Working | Outlook::Ready | Outlook::Notice => (false, String::new()),
        };
        Self {
            progress,
            time,
            percent,
            retry,
            next,
            error: None,
            reload: (!retry).then_some(again),
            again,
            live,
        }
    }
}

/// What has come of the usual time: slower and slower near the end, never there.
fn part(share: f64) -> f64 {
    if share <= 0.9 { share } else { 0.9 + 0.09 * (1.0 - (-3.0 * (share - 0.9)).exp()) }
}

fn again(progress: &Progress) -> u64 {
    let seconds = match (&progress.failure, progress.elapsed.zip(progress.expected)) {
        (Some(setback), _) if progress.state == Outlook::Failed => {
            setback.retry_in.map_or(0.0, |left| left.floor() + 1.0).min(RELOAD_LAST)
        }
        (_, Some((elapsed, expected))) => ((expected - elapsed) / 3.0).min(RELOAD_SLOWLY),
        _ => 0.0,
    };
    // Between 0 and 60.
    (seconds.max(0.0).ceil() as u64).max(RELOAD)
}
