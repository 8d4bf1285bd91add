//! A granted command, run to its end.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Result,
    clock::{self, Deadline},
    command::{Command, Process, State},
};

/// Between two tries to run a command that runs for another machine.
const TURN: Duration = Duration::from_millis(50);
/// Bytes of its output that are looked at for a last line.
const OUTPUT: u32 = 1024;

/// How a command ended.
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: i32,
    /// The last line that it wrote.
    pub(crate) line: String,
}

/// Runs a command with one more argument. One command is one process: a second machine waits for its
/// turn.
pub(crate) fn run(name: &str, argument: &str, patience: Duration) -> Result<Ended> {
    let deadline = Deadline::after(patience);
    let command = Command::new(name).arguments(&[argument.to_owned()]);
    loop {
        let outcome = match command.clone().spawn() {
            Ok(process) => end(&process, deadline),
            Err(error) => Err(error),
        };
        match outcome {
            // Another machine's turn, or its run began before we saw the end of ours.
            Err(error) if matches!(error.code(), ErrorCode::Conflict | ErrorCode::NotFound) => {
                if deadline.left().is_none() {
                    return Err(late(name, patience));
                }
                clock::sleep(TURN);
            }
            Ok(None) => return Err(late(name, patience)),
            Ok(Some(ended)) => return Ok(ended),
            Err(error) => return Err(error),
        }
    }
}

/// How it ended; none when it did not in time, and was killed.
fn end(process: &Process, deadline: Deadline) -> Result<Option<Ended>> {
    match process.wait(deadline.left().unwrap_or_default())? {
        State::Exited(status) => {
            let output = process.output(OUTPUT)?;
            let text = String::from_utf8_lossy(&output);
            let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            Ok(Some(Ended { status, line: line.trim().to_owned() }))
        }
        State::Running | State::Paused => {
            process.signal("SIGKILL")?;
            Ok(None)
        }
    }
}

fn late(name: &str, patience: Duration) -> Error {
    Error::timeout(format!("command {name:?} did not end within {}s", patience.as_secs_f64()))
}
