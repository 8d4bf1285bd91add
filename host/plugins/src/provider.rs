//! Core's [`Provider`] for one configured plugin provider.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use drowse_core::{
    Ability, ErrorCode, Exit, FETCH, Failure, Observation, Provider, ProviderEvent, ProviderName,
    ProviderState, RecreateOptions, RemoveOptions, Service, StopOptions, Target,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    bindings::types,
    compose,
    context::ProviderContext,
    convert,
    cpu_quota::ProviderCpuBudget,
    fault::Fault,
    function::{
        Exec, Fetch, Function, Kill, List, Logs, Pause, Recreate, Remove, Resume, Start, Status,
        Stop, Usage,
    },
    host::PluginHost,
    invocation,
    provider_instance::ProviderInstance,
    settings::ProviderSettings,
    store::HostState,
    supervisor,
    text::sanitize,
    validate::{self, Origin},
};

/// Capacity of the event channel to the engine; `emit` waits while it is full.
const EVENTS: usize = 64;

/// One configured provider: calls of [`Provider`] run in instances of its plugin. It exists even
/// without a usable plugin; then every call fails with the cause.
pub struct PluginProvider {
    instance: Arc<ProviderInstance>,
    /// Permits for calls in flight.
    call_permits: Semaphore,
    runtime: Handle,
    /// The supervisors of `watch`, aborted with this provider.
    watches: Mutex<JoinSet<()>>,
}

/// One call: its label for messages, and its extra time.
#[derive(Clone, Copy)]
struct Call<'a> {
    operation: &'static str,
    target: Option<&'a Target>,
    /// Added to the wall limit.
    extra: Duration,
}

// === impl PluginProvider ===

impl PluginProvider {
    pub(crate) fn new(host: Arc<PluginHost>, runtime: Handle, settings: ProviderSettings) -> Self {
        Self {
            call_permits: Semaphore::new(settings.limits.calls.clamp(1, Semaphore::MAX_PERMITS)),
            instance: Arc::new(ProviderInstance::new(host, settings)),
            runtime,
            watches: Mutex::new(JoinSet::new()),
        }
    }

    pub(crate) fn instance(&self) -> &ProviderInstance {
        &self.instance
    }

    /// Ends `watch` and stops every process of the provider.
    pub(crate) async fn shutdown(&self) {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.instance.context.processes.shutdown().await;
    }

    /// Calls the plugin in a new instance.
    async fn call<F: Function>(&self, call: Call<'_>, function: F) -> Result<F::Answer, Failure> {
        let instance = &*self.instance;
        let handle = call.target.map(|target| target.handle.as_str());
        let active = instance.active.borrow().clone();
        let limits = &instance.context.limits;
        let operation = operation_label(call.operation, handle);
        let Some(active) = active else {
            let cause = instance.context.health.cause().unwrap_or_default();
            return Err(instance.failure(ErrorCode::Unavailable, &operation, &cause));
        };
        let deadline = Instant::now() + limits.wall;
        let Ok(Ok(_turn)) = timeout_at(deadline, self.call_permits.acquire()).await else {
            let cause =
                format!("all {} concurrent calls are in use (limits.max-calls)", limits.calls);
            return Err(instance.failure(ErrorCode::Unavailable, &operation, &cause));
        };
        if timeout_at(deadline, wait_for_budget(&instance.context.cpu_budget)).await.is_err() {
            let cause = "its calls have used more than a tenth of the elapsed time as CPU time (limits.cpu-time)";
            return Err(instance.failure(ErrorCode::Unavailable, &operation, cause));
        }
        let state = HostState::new(active.grants.clone(), call.operation, handle);
        let wall = limits.wall.saturating_add(call.extra);
        let (runtime, settings) = (&instance.host.runtime, Some(instance.settings.as_str()));
        let run = invocation::run(runtime, &active.plugin, state, settings, function);
        match tokio::time::timeout(wall, run).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(result)) => {
                instance.context.health.reached();
                Ok(result)
            }
            Ok(Err(error)) => {
                let failure = instance.refused(&operation, error);
                instance.context.health.answered(&failure);
                Err(failure)
            }
            Err(fault) => Err(instance.broke(&operation, &fault)),
        }
    }

    /// Calls a function that answers with an observation.
    async fn observe(
        &self,
        call: Call<'_>,
        function: impl Function<Answer = types::Observation>,
    ) -> Result<Observation, Failure> {
        let mut answer = self.call(call, function).await?;
        self.instance
            .context
            .address_policy
            .look_up(&mut answer.addresses, |it| (it.host.as_str(), it.port))
            .await;
        self.validated(call, answer, validate::observation)
    }

    /// Validates an answer; an invalid one is a fault.
    fn validated<A, R>(
        &self,
        call: Call<'_>,
        answer: A,
        validate: impl FnOnce(&ProviderContext, Origin<'_>, A) -> Result<R, Fault>,
    ) -> Result<R, Failure> {
        let operation =
            operation_label(call.operation, call.target.map(|target| target.handle.as_str()));
        let settings = call.target.map(|target| target.settings.as_str());
        let validated =
            validate(&self.instance.context, Origin { operation: &operation, settings }, answer);
        validated.map_err(|fault| self.instance.broke(&operation, &fault))
    }
}

/// Waits until the CPU budget is no longer overdrawn.
async fn wait_for_budget(cpu_budget: &ProviderCpuBudget) {
    loop {
        let wait = cpu_budget.overdraft();
        if wait.is_zero() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// `start blog`, `list`
fn operation_label(operation: &str, handle: Option<&str>) -> String {
    match handle {
        Some(handle) => format!("{operation} {}", sanitize(handle, 128)),
        None => operation.to_owned(),
    }
}

impl<'a> Call<'a> {
    fn on(operation: &'static str, target: &'a Target) -> Self {
        Self { operation, target: Some(target), extra: Duration::ZERO }
    }
}

#[async_trait]
impl Provider for PluginProvider {
    fn name(&self) -> &ProviderName {
        &self.instance.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        self.observe(Call::on("start", target), Start { target: convert::target(target) }).await
    }

    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure> {
        let call = Call { extra: options.grace, ..Call::on("stop", target) };
        let options = convert::stop_options(options);
        self.observe(call, Stop { target: convert::target(target), options }).await
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        self.observe(Call::on("pause", target), Pause { target: convert::target(target) }).await
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        self.observe(Call::on("resume", target), Resume { target: convert::target(target) }).await
    }

    async fn kill(&self, target: &Target, signal: Option<&str>) -> Result<Observation, Failure> {
        let signal = signal.map(str::to_owned);
        let kill = Kill { target: convert::target(target), signal };
        self.observe(Call::on("kill", target), kill).await
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        self.observe(Call::on("status", target), Status { target: convert::target(target) }).await
    }

    async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure> {
        let call = Call { operation: "list", target: None, extra: Duration::ZERO };
        let page = self.call(call, List { cursor: cursor.map(str::to_owned) }).await?;
        self.validated(call, page, validate::page)
    }

    async fn check_dial(
        &self,
        target: &Target,
        host: &str,
        address: SocketAddr,
    ) -> Result<(), String> {
        let context = &self.instance.context;
        let validated = context.address_policy.check_dial(host, address, &target.settings).await;
        validated.inspect_err(|refusal| {
            context.refused(&operation_label("connect to", Some(&target.handle)), refusal);
        })
    }

    fn service(&self, seen: &Observation) -> Option<Service> {
        compose::service(&seen.labels)
    }

    fn progress(&self, target: &Target) -> Option<String> {
        self.instance.context.progress.latest(&target.handle)
    }

    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        let logs = Logs { target: convert::target(target), lines };
        Ok(validate::lines(self.call(Call::on("logs", target), logs).await?, lines))
    }

    async fn recreate(
        &self,
        target: &Target,
        options: &RecreateOptions,
    ) -> Result<Observation, Failure> {
        let call = Call { extra: options.extra(), ..Call::on("recreate", target) };
        let options = convert::recreate_options(options);
        self.observe(call, Recreate { target: convert::target(target), options }).await
    }

    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        let call = Call { extra: FETCH, ..Call::on("fetch", target) };
        self.call(call, Fetch { target: convert::target(target) }).await
    }

    async fn remove(&self, target: &Target, options: &RemoveOptions) -> Result<(), Failure> {
        let options = convert::remove_options(*options);
        let remove = Remove { target: convert::target(target), options };
        self.call(Call::on("remove", target), remove).await
    }

    async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        let exec = Exec { target: convert::target(target), command: command.to_vec() };
        Ok(convert::exit(self.call(Call::on("exec", target), exec).await?))
    }

    async fn usage(&self, target: &Target) -> Result<drowse_core::Usage, Failure> {
        let usage = Usage { target: convert::target(target) };
        Ok(convert::usage(self.call(Call::on("usage", target), usage).await?))
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        while watches.try_join_next().is_some() {}
        watches.spawn_on(supervisor::supervise(self.instance.clone(), events), &self.runtime);
        receiver
    }

    fn calls(&self) -> usize {
        self.instance.context.limits.calls
    }

    fn refusal(&self, ability: Ability, target: &Target) -> Option<Failure> {
        let active = self.instance.active.borrow().clone();
        // Without a plugin the call itself reports the problem.
        let info = active.as_ref()?.plugin.info();
        if !info.abilities.contains(&ability) {
            return Some(self.cannot(ability.as_str(), target));
        }
        let lack = active.as_ref()?.grants.missing_grant(ability, &info.endpoints)?;
        let operation = operation_label(ability.as_str(), Some(&target.handle));
        Some(self.instance.failure(ErrorCode::Denied, &operation, &lack))
    }

    fn state(&self) -> ProviderState {
        let active = self.instance.active.borrow().clone();
        let info = active.as_ref().map(|active| active.plugin.info());
        ProviderState {
            plugin: active.as_ref().map(|active| active.plugin.title()),
            origin: info.map(|info| info.origin.clone()),
            usable: active.is_some() && self.instance.context.health.is_reached(),
            cause: self.instance.context.health.cause(),
            abilities: info.map(|info| info.abilities.clone()).unwrap_or_default(),
            faults: self.instance.context.health.faults(),
        }
    }
}
