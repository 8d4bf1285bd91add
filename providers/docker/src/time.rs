//! The engine's two time formats.

use jiff::Timestamp;

/// Milliseconds since the epoch of an RFC 3339 time. None for anything else and for years before
/// 1970: an engine writes year 1 for never.
pub(crate) fn parse_millis(text: &str) -> Option<u64> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok()
}

/// Format of `since` of `/events`: seconds with nine decimal places.
pub(crate) fn since(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
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
    fn year_one_and_invalid_times_are_none() {
        for text in
            ["0001-01-01T00:00:00Z", "", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"]
        {
            assert_eq!(parse_millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn since_has_nine_decimal_places() {
        assert_eq!(since(1_795_213_962_000_000_007), "1795213962.000000007");
        assert_eq!(since(5), "0.000000005");
    }
}
