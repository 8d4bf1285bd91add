//! The checks of the contract that are skipped for what a provider cannot do or was not allowed.

/// Without `exec`.
pub const EXEC: [&str; 6] =
    ["exec", "exec-output", "exec-empty", "exec-unknown", "exec-stopped", "exec-paused"];

/// Without `logs`.
pub const LOGS: [&str; 2] = ["logs", "logs-unknown"];

/// Without `pause`.
pub const PAUSE: [&str; 8] = [
    "pause",
    "pause-again",
    "pause-stopped",
    "pause-unknown",
    "resume",
    "resume-running",
    "start-paused",
    "stop-paused",
];

/// Without `recreate`, or where nobody allowed it.
pub const RECREATE: [&str; 3] = ["fetch", "recreate", "recreate-stopped"];

/// Without `remove`, or where nobody allowed it.
pub const REMOVE: [&str; 2] = ["remove", "remove-again"];

/// Without `usage`.
pub const USAGE: [&str; 3] = ["usage", "usage-stopped", "usage-unknown"];

/// What the provider `http-waker` skips.
pub const OF_HTTP_WAKER: [&[&str]; 6] =
    [&["stop-signal"], &LOGS, &EXEC, &USAGE, &RECREATE, &REMOVE];

/// What the provider `process` skips.
pub const OF_PROCESS: [&[&str]; 3] = [&EXEC, &RECREATE, &REMOVE];

/// What the provider `proxmox` skips of a machine.
pub const OF_PROXMOX: [&[&str]; 5] = [&["stop-signal"], &LOGS, &EXEC, &RECREATE, &REMOVE];

/// What the provider `wake-on-lan` skips. A machine is what its settings say: there is none that does
/// not exist. And a packet is all that the provider has.
pub const OF_WAKE_ON_LAN: [&[&str]; 10] = [
    &["ungranted-watch", "unknown-status", "unknown-start", "unknown-stop", "unknown-kill"],
    &["stop-signal", "kill", "kill-again"],
    &PAUSE,
    &LOGS,
    &EXEC,
    &USAGE,
    &["list", "list-pages"],
    &["watch", "watch-start", "watch-stop", "watch-disturbed"],
    &RECREATE,
    &REMOVE,
];
