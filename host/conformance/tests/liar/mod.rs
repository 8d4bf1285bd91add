//! A provider that keeps every promise but the one whose check its lie is named after.

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
use drowse_conformance::{About, Stand, UNKNOWN, Wish};
use drowse_core::{
    Ability, ErrorCode, Exit, Failure, Observation, Provider, ProviderEvent, ProviderName,
    ProviderState, RecreateOptions, RemoveOptions, Status, StopOptions, Target, Usage,
};
use platform::{Platform, failure};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What runs the liar.
pub(crate) struct Liar {
    platform: Arc<Platform>,
    lie: &'static str,
    disturbed: bool,
}

/// The provider itself.
struct Teller {
    name: ProviderName,
    platform: Arc<Platform>,
    lie: &'static str,
    granted: bool,
    faults: AtomicU64,
}

impl Liar {
    pub(crate) fn honest() -> Self {
        Self::lying("")
    }

    pub(crate) fn lying(lie: &'static str) -> Self {
        Self { platform: Arc::new(Platform::new(lie)), lie, disturbed: true }
    }

    /// Nobody can change its target but itself.
    pub(crate) fn undisturbed() -> Self {
        Self { disturbed: false, ..Self::honest() }
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

    fn lies(&self, lie: &str) -> bool {
        self.lie == lie
    }

    fn teller(&self, granted: bool) -> Arc<dyn Provider> {
        Arc::new(Teller {
            name: ProviderName::parse("liar").unwrap(),
            platform: self.platform.clone(),
            lie: self.lie,
            granted,
            faults: AtomicU64::new(0),
        })
    }
}

fn closed() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

#[async_trait]
impl Stand for Liar {
    async fn load(&self) -> Result<About, String> {
        if self.lies("describe") {
            return Err("it is not WASM".into());
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
        if self.lies("undeclared") {
            abilities.retain(|ability| *ability != Ability::Kill);
        }
        let imports: BTreeSet<String> =
            ["types", "log", "http", "events"].map(str::to_owned).into();
        let wish = Wish { name: "engine".into(), interfaces: ["http"].into(), optional: false };
        Ok(About {
            name: if self.lies("name") { "A Liar" } else { "liar" }.into(),
            version: if self.lies("version") { "1" } else { "1.0.0" }.into(),
            abilities,
            imports: Some(if self.lies("imports") { BTreeSet::new() } else { imports }),
            wishes: vec![wish.clone(); if self.lies("wishes") { 2 } else { 1 }],
            flaws: Vec::new(),
            settings_schema: closed(),
            target_schema: match self.lie {
                "schemas" => json!({ "type": "table", "additionalProperties": false }),
                "closed" => json!({ "type": "object" }),
                _ => closed(),
            },
        })
    }

    async fn bare(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure> {
        let strange = settings.as_object().is_none_or(|entries| !entries.is_empty());
        if strange && !self.lies("settings") {
            return Err(failure(ErrorCode::InvalidRequest, "settings: unknown key"));
        }
        if !strange && self.lies("configure") {
            return Err(failure(ErrorCode::Internal, "called http where nothing may be called"));
        }
        Ok(self.teller(false))
    }

    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure> {
        if self.lies("granted") {
            return Err(failure(ErrorCode::InvalidRequest, "settings: not these"));
        }
        Ok(self.teller(true))
    }

    async fn disturb(&self) -> Option<Result<(), String>> {
        let disturb = || {
            self.platform.set(Status::Stopped);
            if !self.lies("watch-disturbed") {
                self.platform.report();
            }
            Ok(())
        };
        self.disturbed.then(disturb)
    }
}

impl Teller {
    fn lies(&self, lie: &str) -> bool {
        self.lie == lie
    }

    /// What is refused before the platform is asked.
    fn admit(&self, target: &Target) -> Result<(), Failure> {
        if target.settings != "{}" && !self.lies("target-settings") {
            return Err(failure(ErrorCode::InvalidRequest, "settings of target: unknown key"));
        }
        self.allowed()
    }

    fn allowed(&self) -> Result<(), Failure> {
        if self.granted {
            return Ok(());
        }
        if self.lies("ungranted-faults") {
            self.faults.fetch_add(1, Relaxed);
        }
        if self.lies("ungranted") {
            return Err(failure(ErrorCode::Internal, "unwrapped nothing"));
        }
        Err(failure(ErrorCode::Denied, "endpoint engine is not granted"))
    }

    /// The failure of a target that does not exist, as this liar tells it.
    fn known(&self, target: &Target) -> Result<bool, Failure> {
        self.admit(target)?;
        Ok(self.platform.exists(&target.handle))
    }

    fn not_found(&self) -> Failure {
        if self.lies("failures") {
            return failure(ErrorCode::NotFound, "there is none\nat backtrace");
        }
        failure(ErrorCode::NotFound, "there is no such target")
    }

    fn seen(&self, target: &Target) -> Observation {
        let mut seen = self.platform.observe(&target.handle);
        if self.lies("observations") && seen.status == Status::Paused {
            seen.handle = "another".into();
        }
        if self.lies("addresses") && seen.status == Status::Stopped {
            seen.addresses.push(Platform::address());
        }
        seen
    }
}

#[async_trait]
impl Provider for Teller {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        if self.lies("ungranted-start") && !self.granted {
            return Ok(self.seen(target));
        }
        if !self.known(target)? {
            return match self.lie {
                "unknown-start" => Ok(self.seen(target)),
                _ => Err(self.not_found()),
            };
        }
        let before = self.seen(target);
        self.platform.start().await?;
        let mut seen = if self.lies("start") { before } else { self.seen(target) };
        if self.lies("start-addresses") {
            seen.addresses.clear();
        }
        Ok(seen)
    }

    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure> {
        if self.known(target)? {
            if self.lies("stop-signal") && options.signal.is_some() {
                return Err(failure(ErrorCode::InvalidRequest, "signal?"));
            }
            if self.lies("stop-now") && options.grace.is_zero() {
                return Err(failure(ErrorCode::InvalidRequest, "take your time"));
            }
            self.platform.stop().await?;
        } else if self.lies("unknown-stop") {
            return Err(failure(ErrorCode::Internal, "index out of bounds"));
        }
        Ok(self.seen(target))
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        if !self.known(target)? {
            return match self.lie {
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
        if self.lies("undeclared") {
            return Ok(self.seen(target));
        }
        if self.known(target)? {
            self.platform.kill()?;
        } else if self.lies("unknown-kill") {
            return Err(failure(ErrorCode::Internal, "index out of bounds"));
        }
        Ok(self.seen(target))
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        if self.lies("ungranted-status") && !self.granted {
            self.admit(target).or_else(|failure| match failure.code {
                ErrorCode::Denied => Ok(()),
                _ => Err(failure),
            })?;
            let handle = target.handle.clone();
            let stopped = Observation { status: Status::Stopped, handle, ..self.seen(target) };
            return Ok(stopped);
        }
        if !self.known(target)? && target.handle != "blog" && self.lies("unknown-status") {
            return Err(self.not_found());
        }
        if self.lies("crowd") && self.platform.is_crowded().await {
            return Err(failure(ErrorCode::Unavailable, "one at a time"));
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
        Ok(match (cursor, self.lie) {
            (None, _) => (vec![one("wiki"), one("shop")], Some("2".into())),
            (Some(_), "list") => (vec![one("mail")], None),
            (Some(_), "list-pages") => (vec![self.platform.observe("blog"), one("wiki")], None),
            (Some(_), _) => (vec![self.platform.observe("blog")], None),
        })
    }

    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure> {
        if !self.known(target)? {
            return match self.lie {
                "logs-unknown" => Ok(Vec::new()),
                _ => Err(self.not_found()),
            };
        }
        let lines = if self.lies("logs") { 9 } else { lines };
        Ok(vec!["a line".into(); lines as usize])
    }

    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        if !self.known(target)? {
            return Err(self.not_found());
        }
        if self.lies("fetch") {
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
            return if self.lies("remove-again") { Err(self.not_found()) } else { Ok(()) };
        }
        if !self.lies("remove") {
            self.platform.set(Status::Missing);
        }
        Ok(())
    }

    async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        let lines = if self.lies("exec-output") { 101 } else { 100 };
        let fine = |status| Ok(Exit { status, output: vec!["a line".into(); lines] });
        if command.is_empty() && !self.lies("exec-empty") {
            return Err(failure(ErrorCode::InvalidRequest, "name a program"));
        }
        if !self.known(target)? {
            return if self.lies("exec-unknown") { fine(127) } else { Err(self.not_found()) };
        }
        match self.platform.now() {
            Status::Running if self.lies("exec") => fine(0),
            Status::Running => fine(7),
            Status::Paused if self.lies("exec-paused") => fine(7),
            Status::Stopped if self.lies("exec-stopped") => fine(7),
            _ => Err(failure(ErrorCode::Conflict, "it does not run")),
        }
    }

    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        let nothing = Usage { cpu_percent: Some(0.0), memory: Some(0) };
        if !self.known(target)? {
            return if self.lies("usage-unknown") { Ok(nothing) } else { Err(self.not_found()) };
        }
        let running = Usage { cpu_percent: Some(12.5), memory: Some(1 << 20) };
        Ok(match self.platform.now() {
            Status::Running if self.lies("usage") => Usage::default(),
            Status::Running => running,
            _ if self.lies("usage-stopped") => running,
            _ => nothing,
        })
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        let (events, receiver) = mpsc::channel(64);
        if self.granted {
            if !self.lies("watch") {
                events.try_send(ProviderEvent::Synced).unwrap();
            }
            self.platform.watched_by(events);
        } else if self.lies("ungranted-watch") {
            let seen = self.platform.observe(UNKNOWN);
            events.try_send(ProviderEvent::Changed(seen)).unwrap();
        }
        receiver
    }

    fn state(&self) -> ProviderState {
        let broken = self.lies("faults") && self.platform.calls() > 100 && self.granted;
        ProviderState {
            plugin: Some("liar 1.0.0".into()),
            origin: None,
            usable: true,
            // A watch that is granted nothing answers that.
            cause: (!self.granted && !self.lies("ungranted-watch"))
                .then(|| "watch: endpoint engine is not granted".into()),
            abilities: Vec::new(),
            faults: self.faults.load(Relaxed) + u64::from(broken),
        }
    }
}

/// What everything takes.
pub(crate) const MOMENT: Duration = Duration::from_millis(10);
