//! A configured provider.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use drowse_core::{
    Ability, ErrorCode, Exit, FETCH, Failure, Observation, Provider, ProviderEvent, ProviderName,
    ProviderState, RecreateOptions, RemoveOptions, StopOptions, Target,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    bindings::types,
    convert,
    fault::{Fault, clean},
    function::{
        Exec, Fetch, Function, Kill, List, Logs, Pause, Recreate, Remove, Resume, Start, Status,
        Stop, Usage,
    },
    instance,
    load::House,
    meter::Account,
    observed::{self, Origin},
    scope::Tenant,
    seat::Seat,
    settings::ProviderSettings,
    store::HostState,
    supervisor,
};

/// Events on their way to the engine; `emit` waits when there are as many.
const EVENTS: usize = 64;

/// One configured provider: calls of [`Provider`] run in instances of its plugin. Exists also
/// without a usable plugin; then every call fails with the cause.
pub struct PluginProvider {
    seat: Arc<Seat>,
    /// Calls in flight.
    turns: Semaphore,
    runtime: Handle,
    /// The supervisors of `watch`; they end with this provider.
    watches: Mutex<JoinSet<()>>,
}

/// One call, for messages and bounds.
#[derive(Clone, Copy)]
struct Call<'a> {
    operation: &'static str,
    target: Option<&'a Target>,
    /// On top of the wall limit.
    extra: Duration,
}

// === impl PluginProvider ===

impl PluginProvider {
    pub(crate) fn new(house: Arc<House>, runtime: Handle, settings: ProviderSettings) -> Self {
        Self {
            turns: Semaphore::new(settings.limits.calls.clamp(1, Semaphore::MAX_PERMITS)),
            seat: Arc::new(Seat::new(house, settings)),
            runtime,
            watches: Mutex::new(JoinSet::new()),
        }
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Ends `watch` and every process of the provider.
    pub(crate) async fn shutdown(&self) {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.seat.tenant.processes.shutdown().await;
    }

    /// Calls the plugin in an instance of its own.
    async fn call<F: Function>(&self, call: Call<'_>, function: F) -> Result<F::Answer, Failure> {
        let seat = &*self.seat;
        let handle = call.target.map(|target| target.handle.as_str());
        let active = seat.active.borrow().clone();
        let limits = &seat.tenant.limits;
        let doing = doing(call.operation, handle);
        let Some(active) = active else {
            let cause = seat.tenant.health.cause().unwrap_or_default();
            return Err(seat.failure(ErrorCode::Unavailable, &doing, &cause));
        };
        let patience = Instant::now() + limits.wall;
        let Ok(Ok(_turn)) = timeout_at(patience, self.turns.acquire()).await else {
            let cause = format!("{} calls are in flight already (limits.calls)", limits.calls);
            return Err(seat.failure(ErrorCode::Unavailable, &doing, &cause));
        };
        if timeout_at(patience, paid(&seat.tenant.account)).await.is_err() {
            let cause = "its calls have computed for more than a tenth of the time (limits.cpu)";
            return Err(seat.failure(ErrorCode::Unavailable, &doing, cause));
        }
        let state = HostState::new(active.scope.clone(), call.operation, handle);
        let wall = limits.wall.saturating_add(call.extra);
        let (runtime, settings) = (&seat.house.runtime, Some(seat.settings.as_str()));
        let run = instance::run(runtime, &active.plugin, state, settings, function);
        match tokio::time::timeout(wall, run).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(result)) => {
                seat.tenant.health.reached();
                Ok(result)
            }
            Ok(Err(error)) => {
                let failure = seat.refused(&doing, error);
                seat.tenant.health.answered(&failure);
                Err(failure)
            }
            Err(fault) => Err(seat.broke(&doing, &fault)),
        }
    }

    /// Calls a function that answers with an observation.
    async fn observe(
        &self,
        call: Call<'_>,
        function: impl Function<Answer = types::Observation>,
    ) -> Result<Observation, Failure> {
        let mut answer = self.call(call, function).await?;
        self.seat.tenant.border.look_up(&mut answer.addresses).await;
        self.judged(call, answer, observed::observation)
    }

    /// What core gets of an answer.
    fn judged<A, R>(
        &self,
        call: Call<'_>,
        answer: A,
        judge: impl FnOnce(&Tenant, Origin<'_>, A) -> Result<R, Fault>,
    ) -> Result<R, Failure> {
        let doing = doing(call.operation, call.target.map(|target| target.handle.as_str()));
        let settings = call.target.map(|target| target.settings.as_str());
        let judged = judge(&self.seat.tenant, Origin { doing: &doing, settings }, answer);
        judged.map_err(|fault| self.seat.broke(&doing, &fault))
    }
}

/// Waits until what earlier calls have taken is paid for.
async fn paid(account: &Account) {
    loop {
        let wait = account.overdrawn();
        if wait.is_zero() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// `start blog`, `list`
fn doing(operation: &str, handle: Option<&str>) -> String {
    match handle {
        Some(handle) => format!("{operation} {}", clean(handle, 128)),
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
        &self.seat.name
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
        self.judged(call, page, observed::page)
    }

    async fn check_dial(
        &self,
        target: &Target,
        host: &str,
        address: SocketAddr,
    ) -> Result<(), String> {
        let tenant = &self.seat.tenant;
        let judged = tenant.border.check_dial(host, address, &target.settings).await;
        judged.inspect_err(|refusal| {
            tenant.refused(&doing("connect to", Some(&target.handle)), refusal);
        })
    }

    fn said(&self, target: &Target) -> Option<String> {
        self.seat.tenant.said.of(&target.handle)
    }

    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        let logs = Logs { target: convert::target(target), lines };
        Ok(observed::lines(self.call(Call::on("logs", target), logs).await?, lines))
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
        watches.spawn_on(supervisor::supervise(self.seat.clone(), events), &self.runtime);
        receiver
    }

    fn calls(&self) -> usize {
        self.seat.tenant.limits.calls
    }

    fn refusal(&self, ability: Ability, target: &Target) -> Option<Failure> {
        let active = self.seat.active.borrow().clone();
        // Without a plugin the call itself tells what is wrong.
        let info = active.as_ref()?.plugin.info();
        if !info.abilities.contains(&ability) {
            return Some(self.cannot(ability.as_str(), target));
        }
        let lack = active.as_ref()?.scope.lacks(ability, &info.endpoints)?;
        let doing = doing(ability.as_str(), Some(&target.handle));
        Some(self.seat.failure(ErrorCode::Denied, &doing, &lack))
    }

    fn state(&self) -> ProviderState {
        let active = self.seat.active.borrow().clone();
        let info = active.as_ref().map(|active| active.plugin.info());
        ProviderState {
            plugin: active.as_ref().map(|active| active.plugin.title()),
            origin: info.map(|info| info.origin.clone()),
            usable: active.is_some() && self.seat.tenant.health.is_reached(),
            cause: self.seat.tenant.health.cause(),
            abilities: info.map(|info| info.abilities.clone()).unwrap_or_default(),
            faults: self.seat.tenant.health.faults(),
        }
    }
}
