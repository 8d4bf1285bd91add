//! The engine's two ways to write a moment.

/// Milliseconds since the epoch of an RFC 3339 time. None for anything else, and for the years
/// before 1970: an engine writes year 1 for never.
pub(crate) fn parse_millis(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.splitn(3, ':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let plausible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (1970..10_000).contains(&year);
    if !plausible || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from((seconds - offset_seconds(zone)?) * 1000 + millis).ok()
}

/// What `since` of `/events` takes: seconds with nine digits of a fraction.
pub(crate) fn since(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return (zone.len() == 1).then_some(0),
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March so that a leap
/// day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_milliseconds_since_the_epoch() {
        assert_eq!(parse_millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_millis("2026-11-20T22:32:42.069972484Z"), Some(1_795_213_962_069));
        assert_eq!(parse_millis("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500));
        assert_eq!(parse_millis("2026-11-21T00:32:42.07+02:00"), Some(1_795_213_962_070));
    }

    #[test]
    fn never_and_nonsense_are_no_time() {
        for text in
            ["0001-01-01T00:00:00Z", "", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"]
        {
            assert_eq!(parse_millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn since_has_nine_digits_of_a_fraction() {
        assert_eq!(since(1_795_213_962_000_000_007), "1795213962.000000007");
        assert_eq!(since(5), "0.000000005");
    }
}
