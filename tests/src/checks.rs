//! The checks of the contract that a provider without an ability skips.

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
