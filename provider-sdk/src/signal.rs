//! Linux signals by name. Crates such as `nix` and `rustix` have this table only for unix targets, not
//! for components.

/// Names without `SIG` of the signals from number 1 on, as the kernel numbers them on x86 and ARM
/// (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal by its name without `SIG`, in upper case: 15 for `TERM`.
pub fn number(name: &str) -> Option<u32> {
    let index = NAMES.iter().position(|known| *known == name)?;
    u32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_kernels_numbers() {
        for (name, expected) in [("HUP", 1), ("KILL", 9), ("TERM", 15), ("WINCH", 28), ("SYS", 31)]
        {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        assert_eq!(number("SIGTERM"), None);
        assert_eq!(number("term"), None);
    }
}
