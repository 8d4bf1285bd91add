//! Keeps a provider's `watch` running.
//!
//! It runs in one long-lived instance. When that breaks or returns it is begun anew after a pause
//! that doubles from 100 ms to 30 s and is forgotten after a good minute, or when the plugin is
//! replaced. A plugin that breaks at once time after time gets the longest pause straight away. One
//! that answers `unsupported`, as its settings leave nothing to watch, is left alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use drowse_core::ProviderEvent;
use tokio::sync::mpsc;

use crate::{bindings::types::ErrorCode, fault::seconds, seat::Seat};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Running as long as this is being well again.
const GOOD: Duration = Duration::from_secs(60);
/// Breaking sooner than this is breaking at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Breaking at once so many times in a row is a habit.
const HABIT: u32 = 5;

/// The pause before the next try.
#[derive(Debug)]
struct Pause {
    next: Duration,
    at_once: u32,
}

/// Why `watch` ended.
enum Ended {
    /// The plugin was replaced, or the receiver is gone.
    Over,
    /// The plugin cannot watch with these settings.
    Unable(String),
    /// It has to be begun anew.
    Failed { cause: String, broke: bool },
}

/// Watches until the receiver is dropped. Dropping this future ends the instance.
pub(crate) async fn supervise(seat: Arc<Seat>, events: mpsc::Sender<ProviderEvent>) {
    let mut active = seat.active.subscribe();
    let mut pause = Pause::new();
    loop {
        let current = active.borrow_and_update().clone();
        let began = Instant::now();
        let run = async {
            let Some(current) = current.filter(|current| current.watches()) else {
                return std::future::pending().await;
            };
            match seat.watch(&current, events.clone()).await {
                Ok(error) => {
                    let cause =
                        format!("watch: {}", seat.told(&crate::fault::clean(&error.message, 1024)));
                    if matches!(error.code, ErrorCode::Unsupported) {
                        return Ended::Unable(cause);
                    }
                    tracing::warn!(provider = %seat.name, "{cause}");
                    match error.code {
                        ErrorCode::Unavailable => seat.tenant.health.unreached(cause.clone()),
                        _ => seat.tenant.health.note(cause.clone()),
                    }
                    Ended::Failed { cause, broke: false }
                }
                // It broke because nobody listens any more.
                Err(_) if events.is_closed() => std::future::pending().await,
                Err(fault) => {
                    Ended::Failed { cause: seat.broke("watch", &fault).message, broke: true }
                }
            }
        };
        let well = async {
            tokio::time::sleep(GOOD).await;
            seat.tenant.health.watch(None);
            std::future::pending::<Ended>().await
        };
        let ended = tokio::select! {
            () = events.closed() => return,
            _ = active.changed() => Ended::Over,
            ended = run => ended,
            ended = well => ended,
        };
        let wait = match ended {
            Ended::Over => {
                pause = Pause::new();
                seat.tenant.health.watch(None);
                continue;
            }
            Ended::Unable(cause) => {
                tracing::info!(provider = %seat.name, "changes are not watched for: {cause}");
                seat.tenant.health.watch(Some(format!(
                    "{cause}; until its settings or its plugin change, nobody watches for changes"
                )));
                None
            }
            Ended::Failed { cause, broke } => {
                let wait = pause.after(began.elapsed(), broke);
                seat.tenant.health.watch(pause.is_habit().then(|| {
                    format!(
                        "{cause}; it broke at once {} times in a row, so changes are watched for \
                         again only every {}: replace the plugin",
                        pause.at_once,
                        seconds(LONGEST)
                    )
                }));
                Some(wait)
            }
        };
        let rest = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events.closed() => return,
            changed = active.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = Pause::new();
                seat.tenant.health.watch(None);
            }
            () = rest => {}
        }
    }
}

// === impl Pause ===

impl Pause {
    fn new() -> Self {
        Self { next: SHORTEST, at_once: 0 }
    }

    /// The pause after a watch that lasted so long and broke, or returned an error.
    fn after(&mut self, lasted: Duration, broke: bool) -> Duration {
        if lasted >= GOOD {
            *self = Self::new();
        }
        self.at_once = if broke && lasted < AT_ONCE { self.at_once + 1 } else { 0 };
        let wait = if self.is_habit() { LONGEST } else { self.next };
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    fn is_habit(&self) -> bool {
        self.at_once >= HABIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGO: Duration = Duration::from_millis(3);

    #[test]
    fn pauses_double_and_are_forgotten_after_a_good_minute() {
        let mut pause = Pause::new();
        let waits: Vec<u128> = (0..11).map(|_| pause.after(AGO, false).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert!(!pause.is_habit(), "a platform that is away is no defect of the plugin");
        assert_eq!(pause.after(GOOD, false), SHORTEST);
    }

    #[test]
    fn a_plugin_that_breaks_at_once_gets_the_longest_pause() {
        let mut pause = Pause::new();
        let waits: Vec<Duration> = (0..HABIT).map(|_| pause.after(AGO, true)).collect();
        assert_eq!(*waits.last().unwrap(), LONGEST);
        assert!(pause.is_habit());
        assert_ne!(pause.after(AT_ONCE, true), Duration::ZERO);
        assert!(!pause.is_habit(), "it lasted a while");
    }
}
