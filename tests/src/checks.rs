//! The conformance checks that are skipped because a provider lacks an ability or a grant.

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

/// Without `recreate`, or without `may-recreate`.
pub const RECREATE: [&str; 3] = ["fetch", "recreate", "recreate-stopped"];

/// Without `remove`, or without `may-remove`.
pub const REMOVE: [&str; 2] = ["remove", "remove-again"];

/// Without `usage`.
pub const USAGE: [&str; 3] = ["usage", "usage-stopped", "usage-unknown"];

/// Skipped for the provider `http-waker`.
pub const OF_HTTP_WAKER: [&[&str]; 6] =
    [&["stop-signal"], &LOGS, &EXEC, &USAGE, &RECREATE, &REMOVE];

/// Skipped for the provider `process`.
pub const OF_PROCESS: [&[&str]; 3] = [&EXEC, &RECREATE, &REMOVE];

/// Skipped for virtual machines of the provider `proxmox`.
pub const OF_PROXMOX: [&[&str]; 5] = [&["stop-signal"], &LOGS, &EXEC, &RECREATE, &REMOVE];

/// Skipped for the provider `wake-on-lan`. Every target with valid settings exists, so there are no
/// unknown targets, and the provider can only send packets.
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
