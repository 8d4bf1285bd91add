//! Signals by name, numbered as on the Linux architectures that containerd supports.

use drowse_provider_sdk::{Error, Result, signal as table};

/// `SIGKILL`
pub(crate) const KILL: u32 = 9;
/// `SIGTERM`
pub(crate) const TERM: u32 = 15;

/// The number of `SIGTERM`, `term`, `15`, or `SIGRTMIN+3`.
pub(crate) fn number(signal: &str) -> Result<u32> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |name: &str| match name.strip_prefix("RTMIN")? {
        "" => Some(34),
        more => Some(34 + more.strip_prefix('+')?.parse::<u32>().ok()?),
    };
    let number = name.parse().ok().or_else(|| table::number(name)).or_else(|| real_time(name));
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| {
        Error::invalid_request(format!("{signal:?} is not a signal; write for instance SIGTERM"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_parsed_by_name_and_number() {
        for (text, wanted) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGSYS", 31),
            ("SIGWINCH", 28),
            ("SIGRTMIN+3", 37),
        ] {
            assert_eq!(number(text).unwrap(), wanted, "{text}");
        }
        for text in ["", "SIG", "0", "65", "SIGNOPE", "SIGRTMIN+99", "RTMINx"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
