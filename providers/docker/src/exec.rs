//! A command inside a container: made, started, read to its end, and asked how it ended.
//!
//! The engine has no way to end such a command: it runs on when nobody reads it any more.

use std::time::Duration;

use drowse_provider_sdk::{Error, Exit, Result, clock, clock::Deadline, encode, words::EXIT_LINES};
use serde_json::json;

use crate::{
    api::{Answer, Call, EXEC_ENDPOINT, Engine},
    logs,
    model::{Created, ExecState},
};

/// How long the engine may take to notice the end of a command whose output has ended.
const SETTLE: Duration = Duration::from_secs(10);

/// Between two looks at a command whose output has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the command, without starting it.
pub(crate) fn create(engine: &Engine, reference: &str, command: &[String]) -> Result<Answer> {
    let path = format!("/containers/{}/exec", encode(reference));
    let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    engine.send(&Call::post(&path).to(EXEC_ENDPOINT).body(body))
}

/// Starts a command that was made, and waits for its end.
pub(crate) fn run(engine: &Engine, created: Answer, attempt: &str) -> Result<Exit> {
    let told = |error: Error| error.context(attempt);
    let Created { id } = created.response.json().map_err(told)?;
    let path = format!("/exec/{}/start", encode(&id));
    let body = json!({ "Detach": false, "Tty": false });
    let answer = engine.send(&Call::post(&path).to(EXEC_ENDPOINT).body(body)).map_err(told)?;
    if !answer.is_done() {
        return Err(answer.refusal(attempt));
    }
    let output = logs::last(answer.response, false, EXIT_LINES).map_err(told)?;
    let output = output.ok_or_else(|| {
        Error::invalid_request(format!("{attempt}: it writes more than anybody wants to know"))
    })?;
    Ok(Exit::new(ended(engine, &id, attempt)?, output))
}

/// The exit status. The engine may notice the end of a command after the end of its output.
fn ended(engine: &Engine, id: &str, attempt: &str) -> Result<i32> {
    let path = format!("/exec/{}/json", encode(id));
    let told = |error: Error| error.context(attempt);
    let deadline = Deadline::after(SETTLE);
    loop {
        let answer = engine.send(&Call::get(&path).to(EXEC_ENDPOINT)).map_err(told)?;
        if !answer.is_done() {
            return Err(answer.refusal(attempt));
        }
        let state: ExecState = answer.response.json().map_err(told)?;
        match (state.running, state.exit_code) {
            (false, Some(status)) => return Ok(status),
            _ if deadline.left().is_none() => {
                return Err(Error::timeout(format!(
                    "{attempt}: its output has ended, and the engine still says that it runs"
                )));
            }
            _ => clock::sleep(PAUSE),
        }
    }
}
