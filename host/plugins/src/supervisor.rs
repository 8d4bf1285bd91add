//! Supervises a provider's `watch`.
//!
//! `watch` runs in one long-lived instance. When that faults or returns, it is restarted after a
//! pause that doubles from 100 ms to 30 s and is reset after a healthy minute, or when the plugin
//! is replaced. A plugin that faults immediately several times in a row gets the longest pause. A
//! plugin that answers `unsupported`, because its settings leave nothing to watch, is not
//! restarted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use drowse_core::ProviderEvent;
use tokio::sync::mpsc;

use crate::{
    bindings::types::ErrorCode,
    provider_instance::ProviderInstance,
    text::{sanitize, seconds},
};

/// First pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Upper limit of the pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// `watch` counts as healthy after running this long.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// A fault sooner than this is an immediate one.
const IMMEDIATE: Duration = Duration::from_secs(1);
/// Consecutive immediate faults that count as a crash loop.
const CRASH_LOOP: u32 = 5;

/// The pause before the next restart.
#[derive(Debug)]
struct Pause {
    next: Duration,
    immediate_failures: u32,
}

/// Why `watch` ended.
enum Ended {
    /// The plugin was replaced, or the receiver is gone.
    Over,
    /// The plugin cannot watch with these settings.
    Unable(String),
    /// It must be restarted.
    Failed { cause: String, broke: bool },
}

/// Runs `watch` until the receiver of events is dropped. Dropping this future ends the instance.
pub(crate) async fn supervise(
    instance: Arc<ProviderInstance>,
    events: mpsc::Sender<ProviderEvent>,
) {
    let mut active = instance.active.subscribe();
    let mut pause = Pause::new();
    loop {
        let current = active.borrow_and_update().clone();
        let began = Instant::now();
        let run = async {
            let Some(current) = current.filter(|current| current.watches()) else {
                return std::future::pending().await;
            };
            match instance.watch(&current, events.clone()).await {
                Ok(error) => {
                    let cause = format!(
                        "watch: {}",
                        instance.for_operator(&sanitize(&error.message, 1024))
                    );
                    if matches!(error.code, ErrorCode::Unsupported) {
                        return Ended::Unable(cause);
                    }
                    tracing::warn!(provider = %instance.name, "{cause}");
                    match error.code {
                        ErrorCode::Unavailable => instance.context.health.unreached(cause.clone()),
                        _ => instance.context.health.note(cause.clone()),
                    }
                    Ended::Failed { cause, broke: false }
                }
                // It faulted because the receiver is gone.
                Err(_) if events.is_closed() => std::future::pending().await,
                Err(fault) => {
                    Ended::Failed { cause: instance.broke("watch", &fault).message, broke: true }
                }
            }
        };
        let well = async {
            tokio::time::sleep(HEALTHY_AFTER).await;
            instance.context.health.watch(None);
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
                instance.context.health.watch(None);
                continue;
            }
            Ended::Unable(cause) => {
                tracing::info!(provider = %instance.name, "changes are not watched: {cause}");
                instance.context.health.watch(Some(format!(
                    "{cause}; changes are not watched until its settings or its plugin change"
                )));
                None
            }
            Ended::Failed { cause, broke } => {
                let wait = pause.after(began.elapsed(), broke);
                instance.context.health.watch(pause.is_crash_loop().then(|| {
                    format!(
                        "{cause}; it failed immediately {} times in a row, so it is restarted only \
                         every {}: replace the plugin",
                        pause.immediate_failures,
                        seconds(LONGEST_PAUSE)
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
                instance.context.health.watch(None);
            }
            () = rest => {}
        }
    }
}

// === impl Pause ===

impl Pause {
    fn new() -> Self {
        Self { next: SHORTEST_PAUSE, immediate_failures: 0 }
    }

    /// The pause after a watch that ran for `lasted` and faulted (`broke`) or returned an error.
    fn after(&mut self, lasted: Duration, broke: bool) -> Duration {
        if lasted >= HEALTHY_AFTER {
            *self = Self::new();
        }
        self.immediate_failures =
            if broke && lasted < IMMEDIATE { self.immediate_failures + 1 } else { 0 };
        let wait = if self.is_crash_loop() { LONGEST_PAUSE } else { self.next };
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        wait
    }

    fn is_crash_loop(&self) -> bool {
        self.immediate_failures >= CRASH_LOOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGO: Duration = Duration::from_millis(3);

    #[test]
    fn pauses_double_and_are_reset_after_a_healthy_minute() {
        let mut pause = Pause::new();
        let waits: Vec<u128> = (0..11).map(|_| pause.after(AGO, false).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert!(!pause.is_crash_loop(), "an unreachable platform is not a fault of the plugin");
        assert_eq!(pause.after(HEALTHY_AFTER, false), SHORTEST_PAUSE);
    }

    #[test]
    fn a_crash_loop_gets_the_longest_pause() {
        let mut pause = Pause::new();
        let waits: Vec<Duration> = (0..CRASH_LOOP).map(|_| pause.after(AGO, true)).collect();
        assert_eq!(*waits.last().unwrap(), LONGEST_PAUSE);
        assert!(pause.is_crash_loop());
        assert_ne!(pause.after(IMMEDIATE, true), Duration::ZERO);
        assert!(!pause.is_crash_loop(), "it ran longer than an immediate failure");
    }
}
