//! Health of a provider, as operators see it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use drowse_core::{ErrorCode, Failure};

/// Time after which a past failure is no longer reported.
const RECENT: Duration = Duration::from_secs(3600);

/// Fault count, causes of failures, and whether the platform was reachable last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    faults: AtomicU64,
    causes: Mutex<Causes>,
}

#[derive(Debug, Default)]
struct Causes {
    /// The current problem of the plugin.
    plugin: Option<String>,
    /// The current problem of `watch`.
    watch: Option<String>,
    /// Why the last call or `watch` could not reach the platform.
    unreached: Option<String>,
    /// The last past failure and its time.
    last: Option<(String, Instant)>,
}

// === impl Health ===

impl Health {
    /// Counts and records a fault: an instance trapped, hung or exceeded a limit.
    pub(crate) fn fault(&self, cause: String) {
        self.faults.fetch_add(1, Relaxed);
        self.note(cause);
    }

    /// Records a failure that does not last.
    pub(crate) fn note(&self, cause: String) {
        self.causes(|causes| causes.last = Some((cause, Instant::now())));
    }

    /// Sets or clears the problem of the plugin.
    pub(crate) fn plugin(&self, cause: Option<String>) {
        self.causes(|causes| causes.plugin = cause);
    }

    /// Sets or clears the problem of `watch`.
    pub(crate) fn watch(&self, cause: Option<String>) {
        self.causes(|causes| causes.watch = cause);
    }

    /// Marks the platform unreachable until a call reaches it.
    pub(crate) fn unreached(&self, cause: String) {
        self.causes(|causes| causes.unreached = Some(cause));
    }

    /// Marks the platform reachable.
    pub(crate) fn reached(&self) {
        self.causes(|causes| causes.unreached = None);
    }

    /// Updates reachability from an error that the plugin returned.
    pub(crate) fn answered(&self, failure: &Failure) {
        match failure.code {
            ErrorCode::Unavailable => self.unreached(failure.message.clone()),
            // The platform has answered.
            ErrorCode::NotFound | ErrorCode::Conflict => self.reached(),
            _ => {}
        }
    }

    /// Returns whether the platform was reachable last.
    pub(crate) fn is_reached(&self) -> bool {
        self.causes(|causes| causes.unreached.is_none())
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// The current problem, else the last failure within [`RECENT`] with its age.
    pub(crate) fn cause(&self) -> Option<String> {
        self.cause_at(Instant::now())
    }

    fn cause_at(&self, now: Instant) -> Option<String> {
        self.causes(|causes| {
            let current = [&causes.plugin, &causes.unreached, &causes.watch];
            let current = current.into_iter().flatten().next().cloned();
            current.or_else(|| {
                let (cause, at) = causes.last.as_ref()?;
                let passed = now.saturating_duration_since(*at);
                (passed < RECENT).then(|| format!("{cause} ({} ago)", ago(passed)))
            })
        })
    }

    fn causes<R>(&self, act: impl FnOnce(&mut Causes) -> R) -> R {
        act(&mut self.causes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ago(passed: Duration) -> String {
    match passed.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_problems_take_precedence_over_past_failures() {
        let health = Health::default();
        assert_eq!(health.cause(), None);
        health.fault("start blog: panicked: oh".into());
        assert_eq!(health.cause().unwrap(), "start blog: panicked: oh (0 s ago)");
        health.watch(Some("watch fails".into()));
        assert_eq!(health.cause().unwrap(), "watch fails");
        health.plugin(Some("no plugin".into()));
        assert_eq!(health.cause().unwrap(), "no plugin");
        health.plugin(None);
        health.watch(None);
        assert!(health.cause().unwrap().contains("panicked"));
        assert_eq!(health.faults(), 1);
    }

    #[test]
    fn a_platform_that_answers_again_is_reachable() {
        let health = Health::default();
        let failed = |code| health.answered(&Failure::new(code, "status blog: refused"));
        failed(ErrorCode::Unavailable);
        assert_eq!(
            (health.is_reached(), health.cause().unwrap().as_str()),
            (false, "status blog: refused")
        );
        failed(ErrorCode::Internal);
        assert!(!health.is_reached(), "an internal error does not change reachability");
        failed(ErrorCode::NotFound);
        assert_eq!((health.is_reached(), health.cause()), (true, None));
        failed(ErrorCode::Unavailable);
        health.reached();
        assert_eq!((health.is_reached(), health.cause()), (true, None));
    }

    #[test]
    fn a_past_failure_is_dropped_after_an_hour_and_its_count_kept() {
        let health = Health::default();
        health.fault("start blog: panicked: oh".into());
        let later = |passed| health.cause_at(Instant::now() + passed);
        assert!(later(RECENT / 2).unwrap().contains("(30 min ago)"));
        assert_eq!(later(RECENT), None);
        assert_eq!(health.faults(), 1);
    }
}
