//! One configured provider, whatever plugin serves it: what calls and `watch` share.

use std::sync::{Arc, Mutex, PoisonError};

use drowse_core::{Ability, ErrorCode, Failure, ProviderEvent, ProviderName};
use tokio::sync::{mpsc, watch};

use crate::{
    bindings::types,
    convert,
    fault::{Fault, clean},
    function::{Nothing, Watch},
    instance,
    load::{House, Plugin},
    meter::Meter,
    scope::{Scope, Tenant},
    settings::ProviderSettings,
    store::HostState,
};

/// Longest message of a guest in a failure.
const MESSAGE_BYTES: usize = 2 << 10;

/// What calls and the supervisor of `watch` share.
pub(crate) struct Seat {
    pub(crate) name: ProviderName,
    /// The plugin's name or path as configured.
    pub(crate) reference: String,
    /// The plugin's settings as it gets them.
    pub(crate) settings: String,
    pub(crate) house: Arc<House>,
    pub(crate) tenant: Arc<Tenant>,
    /// The plugin in use. Calls in flight keep the one they began with.
    pub(crate) active: watch::Sender<Option<Arc<Active>>>,
    /// What makes the configuration itself unusable.
    flaw: Option<String>,
    /// How `configure` failed when the plugin last got the settings.
    refusal: Mutex<Option<ErrorCode>>,
}

/// A plugin in use, and what it may do here.
pub(crate) struct Active {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) scope: Arc<Scope>,
}

// === impl Seat ===

impl Seat {
    /// A provider of these settings whose plugin is not loaded yet.
    pub(crate) fn new(house: Arc<House>, settings: ProviderSettings) -> Self {
        let name = settings.name.as_str();
        let (tenant, flaw) = match Tenant::new(&settings, &house) {
            Ok(tenant) => (tenant, None),
            Err(flaw) => (Tenant::nobody(name), Some(flaw)),
        };
        tenant
            .health
            .plugin(Some(flaw.clone().unwrap_or_else(|| "its plugin is being loaded".into())));
        Self {
            reference: settings.plugin,
            settings: settings.settings.to_string(),
            house,
            tenant: Arc::new(tenant),
            active: watch::Sender::new(None),
            flaw,
            refusal: Mutex::default(),
            name: settings.name,
        }
    }

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
        let settings = Some(self.settings.as_str());
        let asked = instance::run(&self.house.runtime, &plugin, state, settings, Nothing);
        let wall = self.tenant.limits.wall;
        let title = plugin.title();
        match tokio::time::timeout(wall, asked).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(())) => Ok(Active { plugin, scope }),
            Ok(Err(error)) => {
                self.note_refusal(convert::error_code(error.code));
                let message = clean(&error.message, MESSAGE_BYTES);
                Err(format!("{title} refuses the settings of [provider.{}]: {message}", self.name))
            }
            Err(fault) => {
                self.note_refusal(fault.code());
                self.tenant.health.fault(format!("configure: {title} {fault}"));
                Err(format!("{title} cannot be configured: it {fault}"))
            }
        }
    }

    /// Why there is no plugin in use: what it answered to the settings, or what is wrong with the
    /// plugin or the configuration. None when there is one.
    pub(crate) fn unusable(&self) -> Option<Failure> {
        if self.active.borrow().is_some() {
            return None;
        }
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cause = self.tenant.health.cause().unwrap_or_default();
        Some(Failure::new(refusal.unwrap_or(ErrorCode::Unavailable), cause))
    }

    fn note_refusal(&self, code: ErrorCode) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Runs `watch` until it breaks or returns, which it never should.
    pub(crate) async fn watch(
        &self,
        active: &Active,
        events: mpsc::Sender<ProviderEvent>,
    ) -> Result<types::Error, Fault> {
        let mut state = HostState::new(active.scope.clone(), "watch", None);
        state.events = Some(events);
        // It is one and goes on for ever: its own meter is enough, and calls need not pay for it.
        state.meter = Arc::new(Meter::new(self.tenant.limits.cpu, None));
        let (runtime, settings) = (&self.house.runtime, Some(self.settings.as_str()));
        let asked = instance::run(runtime, &active.plugin, state, settings, Watch {});
        Ok(asked.await?.err().unwrap_or_else(|| {
            convert::error(
                types::ErrorCode::Internal,
                "it returned, which it does only with an error",
            )
        }))
    }

    /// The failure for a guest's own error.
    pub(crate) fn refused(&self, doing: &str, error: types::Error) -> Failure {
        self.failure(convert::error_code(error.code), doing, &clean(&error.message, MESSAGE_BYTES))
    }

    /// Counts a broken instance and makes the failure of its call.
    pub(crate) fn broke(&self, doing: &str, fault: &Fault) -> Failure {
        let failure = self.failure(fault.code(), doing, &format!("the plugin {fault}"));
        self.tenant.broke(doing, fault);
        failure
    }

    pub(crate) fn failure(&self, code: ErrorCode, doing: &str, cause: &str) -> Failure {
        Failure::new(code, format!("provider {:?}: {doing}: {}", self.name, self.told(cause)))
    }

    /// A guest's words for the operator: with the places of endpoints and what is wrong with them,
    /// which the guest does not know, and without our own name where it repeats a refusal of ours.
    pub(crate) fn told(&self, cause: &str) -> String {
        let own = format!("provider {:?}: ", self.name);
        let mut cause = cause.replacen(&own, "", 1);
        for place in self.tenant.places() {
            let unreached = place.unreached();
            if cause.contains(&unreached) {
                cause = cause.replacen(&unreached, &place.unreached_because(), 1);
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
