//! Signals by their names, as Linux numbers them on the architectures that containerd runs on.

use drowse_provider_sdk::{Error, Result};

/// From 1 on; the numbers are the kernel's (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `SIGKILL`
pub(crate) const KILL: u32 = 9;
/// `SIGTERM`
pub(crate) const TERM: u32 = 15;

/// The number of `SIGTERM`, `term`, `15`, or `SIGRTMIN+3`.
pub(crate) fn number(signal: &str) -> Result<u32> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let place = |name: &str| {
        let index = NAMES.iter().position(|known| *known == name)?;
        u32::try_from(index + 1).ok()
    };
    let real_time = |name: &str| match name.strip_prefix("RTMIN")? {
        "" => Some(34),
        more => Some(34 + more.strip_prefix('+')?.parse::<u32>().ok()?),
    };
    let number = name.parse().ok().or_else(|| place(name)).or_else(|| real_time(name));
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| {
        Error::invalid_request(format!("{signal:?} is not a signal; write for instance SIGTERM"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
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
