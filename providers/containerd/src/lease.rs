//! What is under way is held by a lease: nobody collects it before something refers to it.

use std::time::Duration;

use drowse_provider_sdk::{Result, clock, warn};

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
    let until = rfc3339(clock::since_epoch() + LIFE);
    daemon.leased(&format!("drowse-{what}"), until)
}

fn end(leased: &Daemon) {
    if let Err(error) = leased.release() {
        warn!("a lease cannot be ended, and ends by itself tomorrow: {error}");
    }
}

/// A moment since the epoch as RFC 3339 writes it.
fn rfc3339(moment: Duration) -> String {
    let seconds = moment.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, counted in years that begin in March so that a
/// leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_date_s_command_does() {
        let told = |seconds| rfc3339(Duration::from_secs(seconds));
        assert_eq!(told(0), "1970-01-01T00:00:00Z");
        assert_eq!(told(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(told(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(told(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(told(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
