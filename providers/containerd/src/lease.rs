//! Leases: keep work in progress from garbage collection until something references it.

use std::time::Duration;

use drowse_provider_sdk::{Error, Result, clock, warn};
use jiff::Timestamp;

use crate::daemon::Daemon;

/// Lifetime of a lease that is not released.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Runs work with a lease, released on success. After a failure the lease stays for a day, so that
/// a retry continues from there.
pub(crate) fn with_lease<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    let leased = acquire(daemon, what)?;
    let done = work(&leased)?;
    release(&leased);
    Ok(done)
}

/// Runs work with a lease that stays for a day in any case.
pub(crate) fn with_lasting_lease<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    work(&acquire(daemon, what)?)
}

/// Runs work with a lease that is released in any case.
pub(crate) fn with_temporary_lease<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    let leased = acquire(daemon, what)?;
    let done = work(&leased);
    release(&leased);
    done
}

fn acquire(daemon: &Daemon, what: &str) -> Result<Daemon> {
    let until = rfc3339(clock::since_epoch().saturating_add(LIFETIME))?;
    daemon.leased(&format!("drowse-{what}"), until)
}

fn release(leased: &Daemon) {
    if let Err(error) = leased.release() {
        warn!("cannot release a lease, which expires in a day: {error}");
    }
}

/// Formats a time since the epoch by RFC 3339.
fn rfc3339(moment: Duration) -> Result<String> {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(seconds);
    moment.map(|moment| moment.to_string()).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_formatted_as_by_the_date_command() {
        let formatted = |seconds| rfc3339(Duration::from_secs(seconds)).unwrap();
        assert_eq!(formatted(0), "1970-01-01T00:00:00Z");
        assert_eq!(formatted(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(formatted(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(formatted(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(formatted(4_107_542_400), "2100-03-01T00:00:00Z");
        assert!(rfc3339(Duration::MAX).is_err(), "the clock is wrong");
    }
}
