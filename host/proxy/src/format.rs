//! Formatting durations and errors for people.

use std::{error::Error, fmt, time::Duration};

/// Formats an error with its causes, on one line.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a (dyn Error + 'static));

/// A duration that passes, rounded as people say it.
pub(crate) fn approximate(seconds: f64) -> String {
    let counted = |number: f64, word| {
        let s = if number == 1.0 { "" } else { "s" };
        format!("{number} {word}{s}")
    };
    match seconds.max(0.0).round() {
        whole if whole < 120.0 => counted(whole, "second"),
        whole if whole < 7200.0 => counted((whole / 60.0).floor(), "minute"),
        whole => counted((whole / 3600.0).floor(), "hour"),
    }
}

/// A configured duration, exactly and in the largest unit without a fraction.
pub(crate) fn exact(time: Duration) -> String {
    let counted =
        |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds if seconds % 3600 == 0 => counted(seconds / 3600, "hour"),
        seconds if seconds % 60 == 0 => counted(seconds / 60, "minute"),
        seconds => counted(seconds, "second"),
    }
}

/// Seconds with one decimal.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

// === impl ErrorChain ===

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_durations_are_rounded() {
        let cases =
            [(0.0, "0 seconds"), (1.2, "1 second"), (119.4, "119 seconds"), (120.0, "2 minutes")];
        for (seconds, text) in cases {
            assert_eq!(approximate(seconds), text);
        }
        assert_eq!(approximate(7200.0), "2 hours");
    }

    #[test]
    fn configured_durations_are_exact() {
        for (seconds, text) in
            [(3600, "1 hour"), (7200, "2 hours"), (600, "10 minutes"), (90, "90 seconds")]
        {
            assert_eq!(exact(Duration::from_secs(seconds)), text);
        }
        assert_eq!(exact(Duration::from_millis(50)), "50 ms");
    }

    #[test]
    fn an_error_is_formatted_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("asking failed")]
        struct Asking(#[source] std::io::Error);
        let error = Asking(std::io::Error::other("no answer"));
        assert_eq!(ErrorChain(&error).to_string(), "asking failed: no answer");
    }
}
