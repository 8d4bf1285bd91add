//! One configured provider, whichever plugin file serves it: the state that calls and `watch`
//! share.

use std::sync::{Arc, Mutex, PoisonError};

use drowse_core::{Ability, ErrorCode, Failure, ProviderEvent, ProviderName};
use tokio::sync::{mpsc, watch};

use crate::{
    bindings::types,
    context::{Grants, ProviderContext},
    convert,
    cpu_quota::CallCpuQuota,
    fault::Fault,
    function::{ConfigureOnly, Watch},
    host::PluginHost,
    invocation,
    plugin::Plugin,
    settings::ProviderSettings,
    store::HostState,
    text::sanitize,
};

/// Maximum bytes of a guest's message in a failure.
const MESSAGE_BYTES: usize = 2 << 10;

/// State shared by calls and the supervisor of `watch`.
pub(crate) struct ProviderInstance {
    pub(crate) name: ProviderName,
    /// The plugin's name or path as configured.
    pub(crate) reference: String,
    /// The settings passed to `configure`, as JSON.
    pub(crate) settings: String,
    pub(crate) host: Arc<PluginHost>,
    pub(crate) context: Arc<ProviderContext>,
    /// The plugin in use. Calls in flight keep the one that they started with.
    pub(crate) active: watch::Sender<Option<Arc<Active>>>,
    /// Why the provider's configuration is invalid, if it is.
    invalid: Option<String>,
    /// Error code of the last failed `configure`.
    refusal: Mutex<Option<ErrorCode>>,
}

/// The plugin in use with its grants.
pub(crate) struct Active {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) grants: Arc<Grants>,
}

// === impl ProviderInstance ===

impl ProviderInstance {
    /// A provider with these settings and no plugin loaded yet.
    pub(crate) fn new(host: Arc<PluginHost>, settings: ProviderSettings) -> Self {
        let name = settings.name.as_str();
        let (context, invalid) = match ProviderContext::new(&settings, &host.shared) {
            Ok(context) => (context, None),
            Err(invalid) => (ProviderContext::without_grants(name), Some(invalid)),
        };
        context
            .health
            .plugin(Some(invalid.clone().unwrap_or_else(|| "its plugin is still loading".into())));
        Self {
            reference: settings.plugin,
            settings: settings.settings.to_string(),
            host,
            context: Arc::new(context),
            active: watch::Sender::new(None),
            invalid,
            refusal: Mutex::default(),
            name: settings.name,
        }
    }

    /// Switches to a newly loaded plugin if its `configure` accepts the settings; otherwise the old
    /// one stays in use and the cause is recorded.
    pub(crate) async fn adopt(&self, loaded: Result<Arc<Plugin>, String>) {
        if self.invalid.is_some() {
            return;
        }
        let adopted = match loaded {
            Ok(plugin) if self.uses(&plugin.info().digest, &plugin.info().origin) => Ok(None),
            Ok(plugin) => self.configured(plugin).await.map(Some),
            Err(cause) => Err(cause),
        };
        let old = self.active.borrow().as_ref().map(|active| active.plugin.title());
        match adopted {
            Ok(active) => {
                self.context.health.plugin(None);
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
                self.context.health.plugin(Some(cause));
            }
        }
    }

    /// Returns whether the plugin in use has this digest and origin.
    pub(crate) fn uses(&self, digest: &str, origin: &str) -> bool {
        self.active.borrow().as_ref().is_some_and(|active| {
            let info = active.plugin.info();
            info.digest == digest && info.origin == origin
        })
    }

    /// Configures the plugin once, so that invalid settings are reported on loading.
    async fn configured(&self, plugin: Arc<Plugin>) -> Result<Active, String> {
        let grants = Arc::new(Grants::new(self.context.clone(), &plugin.info().endpoints));
        let state = HostState::new(grants.clone(), "configure", None);
        let settings = Some(self.settings.as_str());
        let invocation =
            invocation::run(&self.host.runtime, &plugin, state, settings, ConfigureOnly);
        let wall = self.context.limits.wall;
        let title = plugin.title();
        match tokio::time::timeout(wall, invocation).await.unwrap_or(Err(Fault::Wall(wall))) {
            Ok(Ok(())) => Ok(Active { plugin, grants }),
            Ok(Err(error)) => {
                self.record_refusal(convert::error_code(error.code));
                let message = sanitize(&error.message, MESSAGE_BYTES);
                Err(format!("{title} refuses the settings of [provider.{}]: {message}", self.name))
            }
            Err(fault) => {
                self.record_refusal(fault.code());
                self.context.health.fault(format!("configure: {title} {fault}"));
                Err(format!("{title} cannot be configured: it {fault}"))
            }
        }
    }

    /// Why no plugin is in use: the error of its `configure`, or the problem with the plugin or the
    /// configuration. None if one is in use.
    pub(crate) fn unusable(&self) -> Option<Failure> {
        if self.active.borrow().is_some() {
            return None;
        }
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cause = self.context.health.cause().unwrap_or_default();
        Some(Failure::new(refusal.unwrap_or(ErrorCode::Unavailable), cause))
    }

    fn record_refusal(&self, code: ErrorCode) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Runs `watch` until it faults or returns, which happens only with an error.
    pub(crate) async fn watch(
        &self,
        active: &Active,
        events: mpsc::Sender<ProviderEvent>,
    ) -> Result<types::Error, Fault> {
        let mut state = HostState::new(active.grants.clone(), "watch", None);
        state.events = Some(events);
        // `watch` is a single endless call: limited by its own quota, not charged to the budget of
        // calls.
        state.cpu_quota = Arc::new(CallCpuQuota::new(self.context.limits.cpu, None));
        let (runtime, settings) = (&self.host.runtime, Some(self.settings.as_str()));
        let invocation = invocation::run(runtime, &active.plugin, state, settings, Watch {});
        Ok(invocation.await?.err().unwrap_or_else(|| {
            convert::error(
                types::ErrorCode::Internal,
                "it returned without an error, which the contract does not allow",
            )
        }))
    }

    /// The failure for an error that the guest returned.
    pub(crate) fn refused(&self, operation: &str, error: types::Error) -> Failure {
        self.failure(
            convert::error_code(error.code),
            operation,
            &sanitize(&error.message, MESSAGE_BYTES),
        )
    }

    /// Records a fault and returns the failure of its call.
    pub(crate) fn broke(&self, operation: &str, fault: &Fault) -> Failure {
        let failure = self.failure(fault.code(), operation, &format!("the plugin {fault}"));
        self.context.broke(operation, fault);
        failure
    }

    pub(crate) fn failure(&self, code: ErrorCode, operation: &str, cause: &str) -> Failure {
        Failure::new(
            code,
            format!("provider {:?}: {operation}: {}", self.name, self.for_operator(cause)),
        )
    }

    /// Completes a guest's message for the operator: adds the address of endpoints and the cause of
    /// connection failures, which the guest does not know, and removes our own name where the
    /// message repeats a refusal of the host.
    pub(crate) fn for_operator(&self, cause: &str) -> String {
        let own = format!("provider {:?}: ", self.name);
        let mut cause = cause.replacen(&own, "", 1);
        for label in self.context.endpoint_labels() {
            let unreached = label.unreached();
            if cause.contains(&unreached) {
                cause = cause.replacen(&unreached, &label.unreached_because(), 1);
            }
        }
        cause
    }
}

impl Active {
    /// Returns whether the plugin reports changes.
    pub(crate) fn watches(&self) -> bool {
        self.plugin.info().abilities.contains(&Ability::Watch)
    }
}
