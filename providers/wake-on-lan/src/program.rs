//! Runs a granted command to its end.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Result,
    clock::{self, Deadline},
    command::{Command, Process, State},
};

/// Pause between two attempts to run a command that runs for another machine.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of output that are searched for the last line.
const TAIL_BYTES: u32 = 1024;

/// Result of a command.
pub(crate) struct CommandResult {
    /// Exit status.
    pub(crate) status: i32,
    /// Last line of its output.
    pub(crate) line: String,
}

/// Runs a command with one more argument. A command is one process at a time: a call for a second
/// machine waits.
pub(crate) fn run(name: &str, argument: &str, timeout: Duration) -> Result<CommandResult> {
    let deadline = Deadline::after(timeout);
    let command = Command::new(name).arguments(&[argument.to_owned()]);
    loop {
        let outcome = match command.clone().spawn() {
            Ok(process) => wait(&process, deadline),
            Err(error) => Err(error),
        };
        match outcome {
            // The command runs for another machine, or its next run began before the end of ours
            // was seen.
            Err(error) if matches!(error.code(), ErrorCode::Conflict | ErrorCode::NotFound) => {
                if deadline.left().is_none() {
                    return Err(timed_out(name, timeout));
                }
                clock::sleep(RETRY_PAUSE);
            }
            Ok(None) => return Err(timed_out(name, timeout)),
            Ok(Some(ended)) => return Ok(ended),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the end; None if the command timed out and was killed.
fn wait(process: &Process, deadline: Deadline) -> Result<Option<CommandResult>> {
    match process.wait(deadline.left().unwrap_or_default())? {
        State::Exited(status) => {
            let output = process.output(TAIL_BYTES)?;
            let text = String::from_utf8_lossy(&output);
            let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            Ok(Some(CommandResult { status, line: line.trim().to_owned() }))
        }
        State::Running | State::Paused => {
            process.signal("SIGKILL")?;
            Ok(None)
        }
    }
}

fn timed_out(name: &str, timeout: Duration) -> Error {
    Error::timeout(format!("command {name:?} did not end within {}s", timeout.as_secs_f64()))
}
