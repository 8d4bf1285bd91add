//! Runs a command inside a container: create, start, read the output, query the exit status.
//!
//! The engine cannot end such a command: it continues when the client disconnects.

use std::time::Duration;

use drowse_provider_sdk::{Error, Exit, Result, clock, clock::Deadline, encode, words::EXIT_LINES};
use serde_json::json;

use crate::{
    api::{Answer, Call, EXEC_ENDPOINT, Engine},
    logs,
    model::{Created, ExecState},
};

/// Timeout for the engine to notice the end of a command whose output has exit_status.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two queries of a command whose output has exit_status.
const PAUSE: Duration = Duration::from_millis(10);

/// Creates the command without starting it.
pub(crate) fn create(engine: &Engine, reference: &str, command: &[String]) -> Result<Answer> {
    let path = format!("/containers/{}/exec", encode(reference));
    let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    engine.send(&Call::post(&path).to(EXEC_ENDPOINT).body(body))
}

/// Starts a created command and waits for its end.
pub(crate) fn run(engine: &Engine, created: Answer, attempt: &str) -> Result<Exit> {
    let with_context = |error: Error| error.context(attempt);
    let Created { id } = created.response.json().map_err(with_context)?;
    let path = format!("/exec/{}/start", encode(&id));
    let body = json!({ "Detach": false, "Tty": false });
    let answer =
        engine.send(&Call::post(&path).to(EXEC_ENDPOINT).body(body)).map_err(with_context)?;
    if !answer.is_done() {
        return Err(answer.to_error(attempt));
    }
    let output = logs::last(answer.response, false, EXIT_LINES).map_err(with_context)?;
    let output = output.ok_or_else(|| {
        Error::invalid_request(format!("{attempt}: the command writes more than 4 MiB"))
    })?;
    Ok(Exit::new(exit_status(engine, &id, attempt)?, output))
}

/// The exit status. The engine may notice the end of a command after the end of its output.
fn exit_status(engine: &Engine, id: &str, attempt: &str) -> Result<i32> {
    let path = format!("/exec/{}/json", encode(id));
    let with_context = |error: Error| error.context(attempt);
    let deadline = Deadline::after(SETTLE_TIMEOUT);
    loop {
        let answer = engine.send(&Call::get(&path).to(EXEC_ENDPOINT)).map_err(with_context)?;
        if !answer.is_done() {
            return Err(answer.to_error(attempt));
        }
        let state: ExecState = answer.response.json().map_err(with_context)?;
        match (state.running, state.exit_code) {
            (false, Some(status)) => return Ok(status),
            _ if deadline.left().is_none() => {
                return Err(Error::timeout(format!(
                    "{attempt}: the output has ended, but the engine still reports the command as running"
                )));
            }
            _ => clock::sleep(PAUSE),
        }
    }
}
