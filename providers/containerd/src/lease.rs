//! What is under way is held by a lease: nobody collects it before something refers to it.

use std::time::Duration;

use drowse_provider_sdk::{Error, Result, clock, warn};
use jiff::Timestamp;

use crate::daemon::Daemon;

/// After that time a lease that nobody has ended holds nothing any more.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Does this with a daemon that has a lease. It ends when this has succeeded; what was begun and not
/// ended stays for a day, so that whoever begins again goes on from there.
pub(crate) fn hold<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    let leased = take(daemon, what)?;
    let done = work(&leased)?;
    end(&leased);
    Ok(done)
}

/// The same for what stays for a day in any case.
pub(crate) fn leave<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    work(&take(daemon, what)?)
}

/// The same for what is of no use when it fails.
pub(crate) fn hold_whole<R>(
    daemon: &Daemon,
    what: &str,
    work: impl FnOnce(&Daemon) -> Result<R>,
) -> Result<R> {
    let leased = take(daemon, what)?;
    let done = work(&leased);
    end(&leased);
    done
}

fn take(daemon: &Daemon, what: &str) -> Result<Daemon> {
    let until = rfc3339(clock::since_epoch().saturating_add(LIFE))?;
    daemon.leased(&format!("drowse-{what}"), until)
}

fn end(leased: &Daemon) {
    if let Err(error) = leased.release() {
        warn!("a lease cannot be ended, and ends by itself tomorrow: {error}");
    }
}

/// A moment since the epoch as RFC 3339 writes it.
fn rfc3339(moment: Duration) -> Result<String> {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(seconds);
    moment.map(|moment| moment.to_string()).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_date_s_command_does() {
        let told = |seconds| rfc3339(Duration::from_secs(seconds)).unwrap();
        assert_eq!(told(0), "1970-01-01T00:00:00Z");
        assert_eq!(told(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(told(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(told(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(told(4_107_542_400), "2100-03-01T00:00:00Z");
        assert!(rfc3339(Duration::MAX).is_err(), "the clock is wrong");
    }
}
