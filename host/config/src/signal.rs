//! Names of signals.

use crate::schema::nearest;

/// Linux's signals, signal(7).
const SIGNALS: [&str; 35] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMIN",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Why this is no signal. Names are as the system has them, real-time signals as `SIGRTMIN+3`.
pub(crate) fn flaw(text: &str) -> Option<String> {
    let number = text.strip_prefix("SIGRTMIN+").or_else(|| text.strip_prefix("SIGRTMAX-"));
    let known = match number {
        Some(number) => number.parse().is_ok_and(|number: u8| (1..=30).contains(&number)),
        None => SIGNALS.contains(&text),
    };
    if known {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let meant = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let advice = match nearest(&meant, SIGNALS) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "write it as \"SIGTERM\"".to_owned(),
    };
    Some(format!("\"{}\" is not a signal; {advice}", text.escape_debug()))
}
