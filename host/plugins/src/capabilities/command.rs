//! Granted programs.

use std::{io, sync::Arc, time::Duration};

use crate::{
    bindings::{command as wit, types},
    command::{CommandError, Process, signal},
    convert::error,
    fault::clean,
    store::HostState,
};

/// Longest output in one answer.
const OUTPUT_BYTES: u32 = 64 << 10;

impl wit::Host for HostState {
    async fn spawn(
        &mut self,
        options: wit::SpawnOptions,
    ) -> wasmtime::Result<Result<wit::Process, types::Error>> {
        self.outside("command.spawn")?;
        let wit::SpawnOptions { command, arguments, environment } = options;
        let environment: Vec<(String, String)> =
            environment.into_iter().map(|variable| (variable.name, variable.value)).collect();
        let processes = self.scope.tenant.processes.clone();
        let started = processes.spawn(&command, &arguments, &environment).await;
        Ok(started.map(|process| shown(&process)).map_err(|failure| self.failed(failure)))
    }

    async fn find(
        &mut self,
        command: String,
    ) -> wasmtime::Result<Result<Option<wit::Process>, types::Error>> {
        self.outside("command.find")?;
        let found = self.scope.tenant.processes.find(&command);
        Ok(found.map(|found| found.as_ref().map(shown)).map_err(|failure| self.failed(failure)))
    }

    fn granted(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.scope.tenant.processes.granted())
    }

    async fn signal(
        &mut self,
        id: u64,
        name: String,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.outside("command.signal")?;
        let Some(wanted) = signal(&name) else {
            let message = format!("signal {:?} is not one that can be sent", clean(&name, 64));
            return Ok(Err(error(types::ErrorCode::InvalidRequest, message)));
        };
        let signalled = self.scope.tenant.processes.signal(id, wanted);
        Ok(signalled.map_err(|failure| self.failed(failure)))
    }

    async fn wait(
        &mut self,
        id: u64,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<wit::State, types::Error>> {
        self.outside("command.wait")?;
        let process = match self.process(id) {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        // Whichever comes first; the state is looked at afterwards.
        let _ = tokio::time::timeout(Duration::from_millis(timeout_ms), process.wait()).await;
        Ok(Ok(state(&process)))
    }

    async fn output(
        &mut self,
        id: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.outside("command.output")?;
        let limit = limit.min(OUTPUT_BYTES) as usize;
        Ok(self.process(id).map(|process| process.output(limit)))
    }

    async fn usage(
        &mut self,
        id: u64,
    ) -> wasmtime::Result<Result<Option<wit::ProcessUsage>, types::Error>> {
        self.outside("command.usage")?;
        let process = match self.scope.tenant.processes.by_id(id) {
            Ok(Some(process)) => process,
            Ok(None) => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(self.failed(failure))),
        };
        let looked = self.meter.clone().elsewhere(move || process.usage()).await;
        let looked = looked.unwrap_or_else(|| Err(io::Error::other("the look broke off")));
        let used = looked.map_err(|cause| {
            let message = format!("process {id}: this system does not tell what it uses: {cause}");
            error(types::ErrorCode::Unsupported, message)
        });
        Ok(used.map(|used| {
            used.map(|used| wit::ProcessUsage {
                cpu: u64::try_from(used.cpu.as_nanos()).unwrap_or(u64::MAX),
                memory: used.memory,
            })
        }))
    }

    async fn changes(
        &mut self,
        since: u64,
    ) -> wasmtime::Result<Result<(u64, Vec<String>), types::Error>> {
        self.outside("command.changes")?;
        let scope = self.scope.clone();
        Ok(Ok(scope.tenant.processes.changes(since).await))
    }
}

impl HostState {
    fn process(&self, id: u64) -> Result<Arc<Process>, types::Error> {
        let found =
            self.scope.tenant.processes.by_id(id).map_err(|failure| self.failed(failure))?;
        found.ok_or_else(|| {
            let message =
                format!("process {id} ended, and another of its command was started since");
            error(types::ErrorCode::NotFound, message)
        })
    }

    fn failed(&self, failure: CommandError) -> types::Error {
        match failure {
            CommandError::Conflict(message) => error(types::ErrorCode::Conflict, message),
            CommandError::Denied(message) => {
                self.scope.tenant.refused(&self.doing(), &message);
                error(types::ErrorCode::Denied, message)
            }
            CommandError::Failed(message) => error(types::ErrorCode::Unavailable, message),
            CommandError::Invalid(message) => error(types::ErrorCode::InvalidRequest, message),
            CommandError::NotFound(message) => error(types::ErrorCode::NotFound, message),
        }
    }
}

fn shown(process: &Arc<Process>) -> wit::Process {
    wit::Process {
        id: process.id(),
        command: process.command().to_owned(),
        pid: process.pid(),
        state: state(process),
        started_at: process.started_at(),
    }
}

fn state(process: &Process) -> wit::State {
    match process.ended() {
        Some(status) => wit::State::Exited(status),
        None if process.paused() => wit::State::Paused,
        None => wit::State::Running,
    }
}
