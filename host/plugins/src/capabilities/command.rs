//! Processes of granted commands.

use std::{io, sync::Arc, time::Duration};

use crate::{
    bindings::{command as wit, types},
    command::{CommandError, Process, signal},
    convert::error,
    store::HostState,
    text::sanitize,
};

/// Maximum bytes of output in one answer.
const OUTPUT_BYTES: u32 = 64 << 10;

impl wit::Host for HostState {
    async fn spawn(
        &mut self,
        options: wit::SpawnOptions,
    ) -> wasmtime::Result<Result<wit::Process, types::Error>> {
        self.require_call_phase("command.spawn")?;
        let wit::SpawnOptions { command, arguments, environment } = options;
        let environment: Vec<(String, String)> =
            environment.into_iter().map(|variable| (variable.name, variable.value)).collect();
        let processes = self.context().processes.clone();
        let started = processes.spawn(&command, &arguments, &environment).await;
        Ok(started
            .map(|process| process_record(&process))
            .map_err(|failure| self.command_error(failure)))
    }

    async fn find(
        &mut self,
        command: String,
    ) -> wasmtime::Result<Result<Option<wit::Process>, types::Error>> {
        self.require_call_phase("command.find")?;
        let found = self.context().processes.find(&command);
        Ok(found
            .map(|found| found.as_ref().map(process_record))
            .map_err(|failure| self.command_error(failure)))
    }

    fn granted(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.context().processes.granted())
    }

    async fn signal(
        &mut self,
        id: u64,
        name: String,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.require_call_phase("command.signal")?;
        let Some(wanted) = signal(&name) else {
            let message = format!("signal {:?} is unknown or cannot be sent", sanitize(&name, 64));
            return Ok(Err(error(types::ErrorCode::InvalidRequest, message)));
        };
        let signalled = self.context().processes.signal(id, wanted);
        Ok(signalled.map_err(|failure| self.command_error(failure)))
    }

    async fn wait(
        &mut self,
        id: u64,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<wit::State, types::Error>> {
        self.require_call_phase("command.wait")?;
        let process = match self.process(id) {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        // The state is read after the exit or the timeout, whichever comes first.
        let _ = tokio::time::timeout(Duration::from_millis(timeout_ms), process.wait()).await;
        Ok(Ok(state(&process)))
    }

    async fn output(
        &mut self,
        id: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.require_call_phase("command.output")?;
        let limit = limit.min(OUTPUT_BYTES) as usize;
        Ok(self.process(id).map(|process| process.output(limit)))
    }

    async fn usage(
        &mut self,
        id: u64,
    ) -> wasmtime::Result<Result<Option<wit::ProcessUsage>, types::Error>> {
        self.require_call_phase("command.usage")?;
        let process = match self.context().processes.by_id(id) {
            Ok(Some(process)) => process,
            Ok(None) => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(self.command_error(failure))),
        };
        let usage = self.cpu_quota.clone().run_blocking(move || process.usage()).await;
        let usage =
            usage.unwrap_or_else(|| Err(io::Error::other("reading its resource usage failed")));
        let usage = usage.map_err(|cause| {
            let message = format!(
                "process {id}: its resource usage is not available on this system: {cause}"
            );
            error(types::ErrorCode::Unsupported, message)
        });
        Ok(usage.map(|usage| {
            usage.map(|used| wit::ProcessUsage {
                cpu: u64::try_from(used.cpu.as_nanos()).unwrap_or(u64::MAX),
                memory: used.memory,
            })
        }))
    }

    async fn changes(
        &mut self,
        since: u64,
    ) -> wasmtime::Result<Result<(u64, Vec<String>), types::Error>> {
        self.require_call_phase("command.changes")?;
        let grants = self.grants.clone();
        Ok(Ok(grants.context.processes.changes(since).await))
    }
}

impl HostState {
    fn process(&self, id: u64) -> Result<Arc<Process>, types::Error> {
        let found =
            self.context().processes.by_id(id).map_err(|failure| self.command_error(failure))?;
        found.ok_or_else(|| {
            let message = format!("process {id} has ended and its command was started again");
            error(types::ErrorCode::NotFound, message)
        })
    }

    fn command_error(&self, failure: CommandError) -> types::Error {
        match failure {
            CommandError::Conflict(message) => error(types::ErrorCode::Conflict, message),
            CommandError::Denied(message) => {
                self.context().refused(&self.operation_label(), &message);
                error(types::ErrorCode::Denied, message)
            }
            CommandError::Failed(message) => error(types::ErrorCode::Unavailable, message),
            CommandError::Invalid(message) => error(types::ErrorCode::InvalidRequest, message),
            CommandError::NotFound(message) => error(types::ErrorCode::NotFound, message),
        }
    }
}

fn process_record(process: &Arc<Process>) -> wit::Process {
    wit::Process {
        id: process.id(),
        command: process.command().to_owned(),
        pid: process.pid(),
        state: state(process),
        started_at: process.started_at(),
    }
}

fn state(process: &Process) -> wit::State {
    match process.exit_status() {
        Some(status) => wit::State::Exited(status),
        None if process.paused() => wit::State::Paused,
        None => wit::State::Running,
    }
}
