//! How a provider is, for operators.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use drowse_core::{ErrorCode, Failure};

/// What was wrong longer ago is no news: somebody has looked, or it was nothing.
const RECENT: Duration = Duration::from_secs(3600);

/// Faults and their causes, and whether the platform could be reached last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    faults: AtomicU64,
    causes: Mutex<Causes>,
}

#[derive(Debug, Default)]
struct Causes {
    /// What is wrong with the plugin, for as long as it is.
    plugin: Option<String>,
    /// What is wrong with `watch`, for as long as it is.
    watch: Option<String>,
    /// Why the platform could not be reached by the last call or by `watch`.
    unreached: Option<String>,
    /// What was wrong last, and when.
    last: Option<(String, Instant)>,
}

// === impl Health ===

impl Health {
    /// An instance trapped, hung or broke a limit.
    pub(crate) fn fault(&self, cause: String) {
        self.faults.fetch_add(1, Relaxed);
        self.note(cause);
    }

    /// Something was wrong, once.
    pub(crate) fn note(&self, cause: String) {
        self.causes(|causes| causes.last = Some((cause, Instant::now())));
    }

    /// What is wrong with the plugin from now on; nothing when absent.
    pub(crate) fn plugin(&self, cause: Option<String>) {
        self.causes(|causes| causes.plugin = cause);
    }

    /// What is wrong with `watch` from now on; nothing when absent.
    pub(crate) fn watch(&self, cause: Option<String>) {
        self.causes(|causes| causes.watch = cause);
    }

    /// The platform could not be reached, until a later call reaches it.
    pub(crate) fn unreached(&self, cause: String) {
        self.causes(|causes| causes.unreached = Some(cause));
    }

    /// The platform was reached.
    pub(crate) fn reached(&self) {
        self.causes(|causes| causes.unreached = None);
    }

    /// A call has failed with the plugin's own error.
    pub(crate) fn answered(&self, failure: &Failure) {
        match failure.code {
            ErrorCode::Unavailable => self.unreached(failure.message.clone()),
            // The platform was asked.
            ErrorCode::NotFound | ErrorCode::Conflict => self.reached(),
            _ => {}
        }
    }

    /// No call has failed to reach the platform since it was reached last.
    pub(crate) fn is_reached(&self) -> bool {
        self.causes(|causes| causes.unreached.is_none())
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// What is wrong now, else what was wrong in the last hour and how long ago.
    pub(crate) fn cause(&self) -> Option<String> {
        self.cause_at(Instant::now())
    }

    fn cause_at(&self, now: Instant) -> Option<String> {
        self.causes(|causes| {
            let standing = [&causes.plugin, &causes.unreached, &causes.watch];
            let standing = standing.into_iter().flatten().next().cloned();
            standing.or_else(|| {
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
    fn what_is_wrong_now_goes_before_what_was() {
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
    fn a_platform_that_answers_again_is_not_called_unreachable() {
        let health = Health::default();
        let failed = |code| health.answered(&Failure::new(code, "status blog: refused"));
        failed(ErrorCode::Unavailable);
        assert_eq!(
            (health.is_reached(), health.cause().unwrap().as_str()),
            (false, "status blog: refused")
        );
        failed(ErrorCode::Internal);
        assert!(!health.is_reached(), "nobody knows");
        failed(ErrorCode::NotFound);
        assert_eq!((health.is_reached(), health.cause()), (true, None));
        failed(ErrorCode::Unavailable);
        health.reached();
        assert_eq!((health.is_reached(), health.cause()), (true, None));
    }

    #[test]
    fn what_was_wrong_is_forgotten_after_an_hour_and_counted_for_ever() {
        let health = Health::default();
        health.fault("start blog: panicked: oh".into());
        let later = |passed| health.cause_at(Instant::now() + passed);
        assert!(later(RECENT / 2).unwrap().contains("(30 min ago)"));
        assert_eq!(later(RECENT), None);
        assert_eq!(health.faults(), 1);
    }
}
