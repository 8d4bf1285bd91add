//! A configured provider that runs in WASM.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use drowse_core::{
    Ability, ErrorCode, Failure, Observation, Provider, ProviderEvent, ProviderName, ProviderState,
    StopOptions, Target,
};
use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use wasmtime::Store;

use crate::{
    bindings::{Guest, types},
    convert,
    fault::{Fault, clean},
    instance::{self, Answer},
    load::{House, Plugin},
    scope::{Scope, Tenant},
    settings::ProviderSettings,
    store::HostState,
    supervisor,
};

/// Events on their way to the engine; `emit` waits when there are as many.
const EVENTS: usize = 64;
/// Longest message of a guest in a failure.
const MESSAGE_BYTES: usize = 2 << 10;

/// One configured provider: calls of [`Provider`] run in instances of its plugin. Exists also
/// without a usable plugin; then every call fails with the cause.
pub struct WasmProvider {
    seat: Arc<Seat>,
    /// Calls in flight.
    turns: Semaphore,
    runtime: Handle,
    /// The supervisors of `watch`; they end with this provider.
    watches: Mutex<JoinSet<()>>,
}

/// What calls and the supervisor of `watch` share.
pub(crate) struct Seat {
    pub(crate) name: ProviderName,
    /// The plugin's name or path as configured.
    pub(crate) reference: String,
    /// The plugin's settings as it gets them.
    settings: String,
    house: Arc<House>,
    pub(crate) tenant: Arc<Tenant>,
    /// The plugin in use. Calls in flight keep the one they began with.
    pub(crate) active: watch::Sender<Option<Arc<Active>>>,
    /// What makes the configuration itself unusable.
    flaw: Option<String>,
}

/// A plugin in use, and what it may do here.
pub(crate) struct Active {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) scope: Arc<Scope>,
}

/// One call, for messages and bounds.
struct Call<'a> {
    operation: &'static str,
    target: Option<&'a Target>,
    /// On top of the wall limit.
    extra: Duration,
}

// === impl WasmProvider ===

impl WasmProvider {
    pub(crate) fn new(house: Arc<House>, runtime: Handle, settings: ProviderSettings) -> Self {
        let name = settings.name.as_str();
        let (tenant, flaw) = match Tenant::new(&settings) {
            Ok(tenant) => (tenant, None),
            Err(flaw) => (Tenant::nobody(name), Some(flaw)),
        };
        tenant
            .health
            .plugin(Some(flaw.clone().unwrap_or_else(|| "its plugin is being loaded".into())));
        let seat = Seat {
            reference: settings.plugin,
            settings: settings.settings.to_string(),
            house,
            tenant: Arc::new(tenant),
            active: watch::Sender::new(None),
            flaw,
            name: settings.name,
        };
        Self {
            seat: Arc::new(seat),
            turns: Semaphore::new(settings.limits.calls.clamp(1, Semaphore::MAX_PERMITS)),
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
    async fn call<R: Send>(
        &self,
        call: Call<'_>,
        act: impl for<'a> FnOnce(
            &'a Guest,
            &'a mut Store<HostState>,
        ) -> BoxFuture<'a, wasmtime::Result<Answer<R>>>
        + Send,
    ) -> Result<R, Failure> {
        let seat = &*self.seat;
        let handle = call.target.map(|target| target.handle.as_str());
        let active = seat.active.borrow().clone();
        let limits = &seat.tenant.limits;
        let doing = doing(call.operation, handle);
        let Some(active) = active else {
            let cause = seat.tenant.health.cause().unwrap_or_default();
            return Err(seat.failure(ErrorCode::Unavailable, &doing, &cause));
        };
        let turn = tokio::time::timeout(limits.wall, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let cause = format!("{} calls are in flight already (limits.calls)", limits.calls);
            return Err(seat.failure(ErrorCode::Unavailable, &doing, &cause));
        };
        let state = HostState::new(active.scope.clone(), call.operation, handle);
        let wall = limits.wall.saturating_add(call.extra);
        let run =
            instance::run(&seat.house.runtime, &active.plugin, state, Some(&seat.settings), act);
        match tokio::time::timeout(wall, run).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(seat.refused(&doing, error)),
            Err(fault) => Err(seat.broke(&doing, &fault)),
        }
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

/// Calls one function of the guest with owned arguments and turns its result into core's.
macro_rules! ask {
    ($provider:expr, $call:expr, $function:ident($($argument:expr),*), $result:expr) => {
        $provider
            .call($call, move |guest, store| {
                Box::pin(async move { guest.$function(store, $($argument),*).await })
            })
            .await
            .map($result)
    };
}

#[async_trait]
impl Provider for WasmProvider {
    fn name(&self) -> &ProviderName {
        &self.seat.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        let asked = convert::target(target);
        ask!(self, Call::on("start", target), call_start(&asked), convert::observation)
    }

    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure> {
        let (asked, how) = (convert::target(target), convert::stop_options(options));
        let call = Call { extra: options.grace, ..Call::on("stop", target) };
        ask!(self, call, call_stop(&asked, &how), convert::observation)
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        let asked = convert::target(target);
        ask!(self, Call::on("pause", target), call_pause(&asked), convert::observation)
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        let asked = convert::target(target);
        ask!(self, Call::on("resume", target), call_resume(&asked), convert::observation)
    }

    async fn kill(&self, target: &Target, signal: Option<&str>) -> Result<Observation, Failure> {
        let (asked, signal) = (convert::target(target), signal.map(str::to_owned));
        let call = Call::on("kill", target);
        ask!(self, call, call_kill(&asked, signal.as_deref()), convert::observation)
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        let asked = convert::target(target);
        ask!(self, Call::on("status", target), call_status(&asked), convert::observation)
    }

    async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure> {
        let cursor = cursor.map(str::to_owned);
        let call = Call { operation: "list", target: None, extra: Duration::ZERO };
        ask!(self, call, call_list(cursor.as_deref()), |page| {
            (page.observations.into_iter().map(convert::observation).collect(), page.next)
        })
    }

    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        let asked = convert::target(target);
        ask!(self, Call::on("logs", target), call_logs(&asked, lines), |lines| lines)
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        while watches.try_join_next().is_some() {}
        watches.spawn_on(supervisor::supervise(self.seat.clone(), events), &self.runtime);
        receiver
    }

    fn state(&self) -> ProviderState {
        let active = self.seat.active.borrow().clone();
        let info = active.as_ref().map(|active| active.plugin.info());
        ProviderState {
            plugin: active.as_ref().map(|active| active.plugin.title()),
            origin: info.map(|info| info.origin.clone()),
            usable: active.is_some(),
            cause: self.seat.tenant.health.cause(),
            abilities: info.map(|info| info.abilities.clone()).unwrap_or_default(),
            faults: self.seat.tenant.health.faults(),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Puts a newly loaded plugin to use if it takes the settings; else the old one stays and the
    /// cause is kept.
    pub(crate) async fn adopt(&self, loaded: Result<Arc<Plugin>, String>) {
        if self.flaw.is_some() {
            return;
        }
        let tried = match loaded {
            Ok(plugin) if self.uses(&plugin.info().digest, &plugin.info().origin) => Ok(None),
            Ok(plugin) => self.configured(plugin).await.map(Some),
            Err(cause) => Err(cause),
        };
        let old = self.active.borrow().as_ref().map(|active| active.plugin.title());
        match tried {
            Ok(active) => {
                self.tenant.health.plugin(None);
                if let Some(active) = active {
                    let plugin = active.plugin.title();
                    tracing::info!(provider = %self.name, plugin, "provider uses plugin");
                    self.active.send_replace(Some(Arc::new(active)));
                }
            }
            Err(cause) => {
                let cause = match old {
                    Some(old) => format!("{cause}; {old} stays in use"),
                    None => cause,
                };
                tracing::error!(provider = %self.name, "{cause}");
                self.tenant.health.plugin(Some(cause));
            }
        }
    }

    /// Whether this file is the one in use.
    pub(crate) fn uses(&self, digest: &str, origin: &str) -> bool {
        self.active.borrow().as_ref().is_some_and(|active| {
            let info = active.plugin.info();
            info.digest == digest && info.origin == origin
        })
    }

    /// Hands the settings to the plugin once, so that a mistake shows when it is made.
    async fn configured(&self, plugin: Arc<Plugin>) -> Result<Active, String> {
        let scope = Arc::new(Scope::new(self.tenant.clone(), &plugin.info().endpoints));
        let state = HostState::new(scope.clone(), "configure", None);
        let asked =
            instance::run(&self.house.runtime, &plugin, state, Some(&self.settings), |_, _| {
                Box::pin(async { Ok(Ok(())) })
            });
        let wall = self.tenant.limits.wall;
        let title = plugin.title();
        match tokio::time::timeout(wall, asked).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(())) => Ok(Active { plugin, scope }),
            Ok(Err(error)) => {
                let message = clean(&error.message, MESSAGE_BYTES);
                Err(format!("{title} refuses the settings of [provider.{}]: {message}", self.name))
            }
            Err(fault) => {
                self.tenant.health.fault(format!("configure: {title} {fault}"));
                Err(format!("{title} cannot be configured: it {fault}"))
            }
        }
    }

    /// Runs `watch` until it breaks or returns, which it never should.
    pub(crate) async fn watch(
        &self,
        active: &Active,
        events: mpsc::Sender<ProviderEvent>,
    ) -> Result<types::Error, Fault> {
        let mut state = HostState::new(active.scope.clone(), "watch", None);
        state.events = Some(events);
        let asked = instance::run(
            &self.house.runtime,
            &active.plugin,
            state,
            Some(&self.settings),
            |guest, store| Box::pin(async move { guest.call_watch(store).await }),
        );
        Ok(asked.await?.err().unwrap_or_else(|| {
            convert::error(
                types::ErrorCode::Internal,
                "it returned, which it does only with an error",
            )
        }))
    }

    /// The failure for a guest's own error.
    fn refused(&self, doing: &str, error: types::Error) -> Failure {
        self.failure(convert::error_code(error.code), doing, &clean(&error.message, MESSAGE_BYTES))
    }

    /// Counts a broken instance and makes the failure of its call.
    pub(crate) fn broke(&self, doing: &str, fault: &Fault) -> Failure {
        let failure = self.failure(fault.code(), doing, &format!("the plugin {fault}"));
        tracing::warn!(provider = %self.name, operation = doing, "plugin instance broke: {fault}");
        self.tenant.health.fault(format!("{doing}: the plugin {fault}"));
        failure
    }

    fn failure(&self, code: ErrorCode, doing: &str, cause: &str) -> Failure {
        Failure::new(code, format!("provider {:?}: {doing}: {}", self.name, self.told(cause)))
    }

    /// A guest's words for the operator: with the places of endpoints, which the guest does not
    /// know, and without our own name where it repeats a refusal of ours.
    pub(crate) fn told(&self, cause: &str) -> String {
        let own = format!("provider {:?}: ", self.name);
        let mut cause = cause.replacen(&own, "", 1);
        for (name, endpoint) in &self.tenant.endpoints {
            let unreached = format!("endpoint {name:?} cannot be reached");
            if cause.contains(&unreached) {
                let place = endpoint.place();
                cause = cause.replacen(
                    &unreached,
                    &format!("endpoint {name:?} at {place} cannot be reached"),
                    1,
                );
            }
        }
        cause
    }
}

impl Active {
    /// Whether the plugin reports changes.
    pub(crate) fn watches(&self) -> bool {
        self.plugin.info().abilities.contains(&Ability::Watch)
    }
}
