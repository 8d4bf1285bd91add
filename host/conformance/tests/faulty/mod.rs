//! A test provider with one deliberate fault, named after the check that must find it.

mod platform;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_conformance::{About, TestHost, UNKNOWN, Wish};
use drowse_core::{
    Ability, ErrorCode, Exit, Failure, Observation, Provider, ProviderEvent, ProviderName,
    ProviderState, RecreateOptions, RemoveOptions, Status, StopOptions, Target, Usage,
};
use platform::{Platform, failure};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Loads and configures the test provider.
pub(crate) struct FaultyHost {
    platform: Arc<Platform>,
    fault: &'static str,
    disturbed: bool,
}

/// The test provider.
struct FaultyProvider {
    name: ProviderName,
    platform: Arc<Platform>,
    fault: &'static str,
    granted: bool,
    faults: AtomicU64,
}

impl FaultyHost {
    pub(crate) fn faultless() -> Self {
        Self::with_fault("")
    }

    pub(crate) fn with_fault(fault: &'static str) -> Self {
        Self { platform: Arc::new(Platform::new(fault)), fault, disturbed: true }
    }

    /// A host that cannot change the target without the provider.
    pub(crate) fn undisturbed() -> Self {
        Self { disturbed: false, ..Self::faultless() }
    }

    pub(crate) fn runs(&self, runs: bool) {
        self.platform.set(if runs { Status::Running } else { Status::Stopped });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.platform.now() == Status::Running
    }

    pub(crate) fn calls_of_the_platform(&self) -> usize {
        self.platform.calls()
    }

    fn has_fault(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn provider(&self, granted: bool) -> Arc<dyn Provider> {
        Arc::new(FaultyProvider {
            name: ProviderName::parse("faulty").unwrap(),
            platform: self.platform.clone(),
            fault: self.fault,
            granted,
            faults: AtomicU64::new(0),
        })
    }
}

fn closed() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

#[async_trait]
impl TestHost for FaultyHost {
    async fn load(&self) -> Result<About, String> {
        if self.has_fault("describe") {
            return Err("not a WASM module".into());
        }
        let mut abilities = vec![
            Ability::StopSignal,
            Ability::Pause,
            Ability::Kill,
            Ability::List,
            Ability::Watch,
            Ability::Remove,
            Ability::Logs,
            Ability::Exec,
            Ability::Usage,
            Ability::Recreate,
            Ability::Fetch,
        ];
        if self.has_fault("undeclared") {
            abilities.retain(|ability| *ability != Ability::Kill);
        }
        let imports: BTreeSet<String> =
            ["types", "log", "http", "events"].map(str::to_owned).into();
        let wish = Wish { name: "engine".into(), interfaces: ["http"].into(), optional: false };
        Ok(About {
            name: if self.has_fault("name") { "A FaultyHost" } else { "faulty" }.into(),
            version: if self.has_fault("version") { "1" } else { "1.0.0" }.into(),
            abilities,
            imports: Some(if self.has_fault("imports") { BTreeSet::new() } else { imports }),
            wishes: vec![wish.clone(); if self.has_fault("wishes") { 2 } else { 1 }],
            flaws: Vec::new(),
            settings_schema: closed(),
            target_schema: match self.fault {
                "schemas" => json!({ "type": "table", "additionalProperties": false }),
                "closed" => json!({ "type": "object" }),
                _ => closed(),
            },
        })
    }

    async fn ungranted(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure> {
        let unknown_key = settings.as_object().is_none_or(|entries| !entries.is_empty());
        if unknown_key && !self.has_fault("settings") {
            return Err(failure(ErrorCode::InvalidRequest, "settings: unknown key"));
        }
        if !unknown_key && self.has_fault("configure") {
            return Err(failure(ErrorCode::Internal, "called http outside a call phase"));
        }
        Ok(self.provider(false))
    }

    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure> {
        if self.has_fault("granted") {
            return Err(failure(ErrorCode::InvalidRequest, "settings refused"));
        }
        Ok(self.provider(true))
    }

    async fn disturb(&self) -> Option<Result<(), String>> {
        let disturb = || {
            self.platform.set(Status::Stopped);
            if !self.has_fault("watch-disturbed") {
                self.platform.report();
            }
            Ok(())
        };
        self.disturbed.then(disturb)
    }
}

impl FaultyProvider {
    fn has_fault(&self, fault: &str) -> bool {
        self.fault == fault
    }

    /// Refuses invalid settings and missing grants before the platform is called.
    fn admit(&self, target: &Target) -> Result<(), Failure> {
        if target.settings != "{}" && !self.has_fault("target-settings") {
            return Err(failure(ErrorCode::InvalidRequest, "settings of target: unknown key"));
        }
        self.allowed()
    }

    fn allowed(&self) -> Result<(), Failure> {
        if self.granted {
            return Ok(());
        }
        if self.has_fault("ungranted-faults") {
            self.faults.fetch_add(1, Relaxed);
        }
        if self.has_fault("ungranted") {
            return Err(failure(ErrorCode::Internal, "unwrap on None"));
        }
        Err(failure(ErrorCode::Denied, "endpoint engine is not granted"))
    }

    /// Returns whether the target exists; fails if the call is refused.
    fn known(&self, target: &Target) -> Result<bool, Failure> {
        self.admit(target)?;
        Ok(self.platform.exists(&target.handle))
    }

    fn not_found(&self) -> Failure {
        if self.has_fault("failures") {
            return failure(ErrorCode::NotFound, "no such target\nat backtrace");
        }
        failure(ErrorCode::NotFound, "no such target")
    }

    fn seen(&self, target: &Target) -> Observation {
        let mut seen = self.platform.observe(&target.handle);
        if self.has_fault("observations") && seen.status == Status::Paused {
            seen.handle = "another".into();
        }
        if self.has_fault("addresses") && seen.status == Status::Stopped {
            seen.addresses.push(Platform::address());
        }
        seen
    }
}

#[async_trait]
impl Provider for FaultyProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        if self.has_fault("ungranted-start") && !self.granted {
            return Ok(self.seen(target));
        }
        if !self.known(target)? {
            return match self.fault {
                "unknown-start" => Ok(self.seen(target)),
                _ => Err(self.not_found()),
            };
        }
        let before = self.seen(target);
        self.platform.start().await?;
        let mut seen = if self.has_fault("start") { before } else { self.seen(target) };
        if self.has_fault("start-addresses") {
            seen.addresses.clear();
        }
        Ok(seen)
    }

    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure> {
        if self.known(target)? {
            if self.has_fault("stop-signal") && options.signal.is_some() {
                return Err(failure(ErrorCode::InvalidRequest, "signal not supported"));
            }
            if self.has_fault("stop-now") && options.grace.is_zero() {
                return Err(failure(ErrorCode::InvalidRequest, "grace is zero"));
            }
            self.platform.stop().await?;
        } else if self.has_fault("unknown-stop") {
            return Err(failure(ErrorCode::Internal, "index out of bounds"));
        }
        Ok(self.seen(target))
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        if !self.known(target)? {
            return match self.fault {
                "pause-unknown" => Ok(self.seen(target)),
                _ => Err(self.not_found()),
            };
        }
        self.platform.pause()?;
        Ok(self.seen(target))
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        if !self.known(target)? {
            return Err(self.not_found());
        }
        self.platform.resume()?;
        Ok(self.seen(target))
    }

    async fn kill(&self, target: &Target, _: Option<&str>) -> Result<Observation, Failure> {
        if self.has_fault("undeclared") {
            return Ok(self.seen(target));
        }
        if self.known(target)? {
            self.platform.kill()?;
        } else if self.has_fault("unknown-kill") {
            return Err(failure(ErrorCode::Internal, "index out of bounds"));
        }
        Ok(self.seen(target))
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        if self.has_fault("ungranted-status") && !self.granted {
            self.admit(target).or_else(|failure| match failure.code {
                ErrorCode::Denied => Ok(()),
                _ => Err(failure),
            })?;
            let handle = target.handle.clone();
            let stopped = Observation { status: Status::Stopped, handle, ..self.seen(target) };
            return Ok(stopped);
        }
        if !self.known(target)? && target.handle != "blog" && self.has_fault("unknown-status") {
            return Err(self.not_found());
        }
        if self.has_fault("concurrent-status") && self.platform.has_concurrent_calls().await {
            return Err(failure(ErrorCode::Unavailable, "too many calls"));
        }
        Ok(self.seen(target))
    }

    async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure> {
        self.allowed()?;
        let one = |handle: &str| {
            let target = Target { handle: handle.into(), settings: "{}".into() };
            Observation { status: Status::Stopped, ..self.seen(&target) }
        };
        Ok(match (cursor, self.fault) {
            (None, _) => (vec![one("wiki"), one("shop")], Some("2".into())),
            (Some(_), "list") => (vec![one("mail")], None),
            (Some(_), "list-pages") => (vec![self.platform.observe("blog"), one("wiki")], None),
            (Some(_), _) => (vec![self.platform.observe("blog")], None),
        })
    }

    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        if !self.known(target)? {
            return match self.fault {
                "logs-unknown" => Ok(Vec::new()),
                _ => Err(self.not_found()),
            };
        }
        let lines = if self.has_fault("logs") { 9 } else { lines };
        Ok(vec!["a line".into(); lines as usize])
    }

    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        if !self.known(target)? {
            return Err(self.not_found());
        }
        if self.has_fault("fetch") {
            self.platform.recreate();
        }
        Ok(())
    }

    async fn recreate(&self, target: &Target, _: &RecreateOptions) -> Result<Observation, Failure> {
        if !self.known(target)? {
            return Err(self.not_found());
        }
        self.platform.recreate();
        Ok(self.seen(target))
    }

    async fn remove(&self, target: &Target, _: &RemoveOptions) -> Result<(), Failure> {
        if !self.known(target)? {
            return if self.has_fault("remove-again") { Err(self.not_found()) } else { Ok(()) };
        }
        if !self.has_fault("remove") {
            self.platform.set(Status::Missing);
        }
        Ok(())
    }

    async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        let lines = if self.has_fault("exec-output") { 101 } else { 100 };
        let fine = |status| Ok(Exit { status, output: vec!["a line".into(); lines] });
        if command.is_empty() && !self.has_fault("exec-empty") {
            return Err(failure(ErrorCode::InvalidRequest, "empty command"));
        }
        if !self.known(target)? {
            return if self.has_fault("exec-unknown") { fine(127) } else { Err(self.not_found()) };
        }
        match self.platform.now() {
            Status::Running if self.has_fault("exec") => fine(0),
            Status::Running => fine(7),
            Status::Paused if self.has_fault("exec-paused") => fine(7),
            Status::Stopped if self.has_fault("exec-stopped") => fine(7),
            _ => Err(failure(ErrorCode::Conflict, "the target does not run")),
        }
    }

    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        let nothing = Usage { cpu_percent: Some(0.0), memory: Some(0) };
        if !self.known(target)? {
            return if self.has_fault("usage-unknown") {
                Ok(nothing)
            } else {
                Err(self.not_found())
            };
        }
        let running = Usage { cpu_percent: Some(12.5), memory: Some(1 << 20) };
        Ok(match self.platform.now() {
            Status::Running if self.has_fault("usage") => Usage::default(),
            Status::Running => running,
            _ if self.has_fault("usage-stopped") => running,
            _ => nothing,
        })
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        let (events, receiver) = mpsc::channel(64);
        if self.granted {
            if !self.has_fault("watch") {
                events.try_send(ProviderEvent::Synced).unwrap();
            }
            self.platform.watched_by(events);
        } else if self.has_fault("ungranted-watch") {
            let seen = self.platform.observe(UNKNOWN);
            events.try_send(ProviderEvent::Changed(seen)).unwrap();
        }
        receiver
    }

    fn state(&self) -> ProviderState {
        let broken = self.has_fault("faults") && self.platform.calls() > 100 && self.granted;
        ProviderState {
            plugin: Some("faulty 1.0.0".into()),
            origin: None,
            usable: true,
            // A watch without grants reports its failure in the state.
            cause: (!self.granted && !self.has_fault("ungranted-watch"))
                .then(|| "watch: endpoint engine is not granted".into()),
            abilities: Vec::new(),
            faults: self.faults.load(Relaxed) + u64::from(broken),
        }
    }
}

/// Duration of every operation of the platform.
pub(crate) const MOMENT: Duration = Duration::from_millis(10);
