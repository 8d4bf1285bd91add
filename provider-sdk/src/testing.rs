//! Testing a provider without a host: scripted endpoints and commands, a virtual clock, captured
//! logs and reports.
//!
//! Calls go through the same glue as in a component: `configure`, then the call, in an instance of
//! its own. The provider's host calls must match the script, in order, and must be allowed by the
//! rules of its description; any other call fails the test at once with the expected one. `sleep`
//! advances the clock and returns at once.

mod check;
mod program;
mod reply;
mod script;

use std::{
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

pub use check::check_description;
pub use program::Program;
pub use reply::{Answer, Reply};
use script::{Dropped, Outcome, Script, Stage};
pub use script::{Logged, Report};

pub use crate::bindings::drowse::provider::{
    grpc::Call, http::Request, network::Attachment, types::Target,
};
use crate::{
    bindings::exports::drowse::provider::provider::Guest,
    description::Description,
    error::{Error, Result},
    glue::Glue,
    host,
    provider::Provider,
    settings::NoSettings,
    words::{Exit, Observation, Page, RecreateOptions, RemoveOptions, StopOptions, Usage},
};

/// A configured provider with a scripted host.
///
/// On drop, unmet expectations fail the test.
pub struct Harness<P> {
    settings: String,
    script: Script,
    provider: PhantomData<fn() -> P>,
}

/// Result of a watch.
#[derive(Debug)]
pub struct Watched {
    /// Reports, in order.
    pub reports: Vec<Report>,
    /// Error of the watch; None if it still ran at the end of the script, where the host drops the
    /// call.
    pub error: Option<Error>,
    /// The call that the watch was waiting for when the host dropped it.
    pub dropped: Option<String>,
}

/// A provider that does nothing, for tests that need only a host.
pub struct Silent;

// === impl Harness ===

impl<P: Provider> Default for Harness<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Provider> Harness<P> {
    /// The provider without settings.
    pub fn new() -> Self {
        Self::with_settings(serde_json::json!({}))
    }

    /// The provider with these settings.
    pub fn with_settings(settings: serde_json::Value) -> Self {
        Self {
            settings: settings.to_string(),
            script: Script::new(Glue::<P>::describe()),
            provider: PhantomData,
        }
    }

    /// Expects the next request, `METHOD /path?query` to this endpoint, and sets its response.
    pub fn expect(&self, endpoint: &str, request: &str, reply: Reply) -> &Self {
        self.script.expect(endpoint, request, Outcome::Http(reply));
        self
    }

    /// Expects the next gRPC call, `/package.Service/Method` on this endpoint, and sets its answer.
    pub fn expect_call(&self, endpoint: &str, method: &str, answer: Answer) -> &Self {
        self.script.expect(endpoint, method, Outcome::Grpc(answer));
        self
    }

    /// Expects the next network call, `ADD container`, `DEL` or `CHECK`, and sets its result: the
    /// addresses for `ADD`.
    pub fn expect_network(
        &self,
        network: &str,
        asked: &str,
        outcome: Result<Vec<String>>,
    ) -> &Self {
        self.script.expect(network, asked, Outcome::Network(outcome));
        self
    }

    /// Grants rules of an endpoint besides those of the description, as an operator does for
    /// settings with other requests.
    pub fn allow<R: Into<String>>(
        &self,
        endpoint: &str,
        rules: impl IntoIterator<Item = R>,
    ) -> &Self {
        self.script.allow(endpoint, rules.into_iter().map(Into::into).collect());
        self
    }

    /// Grants a command.
    pub fn grant(&self, command: &str, program: Program) -> &Self {
        self.script.grant(command, program);
        self
    }

    /// Advances the virtual clock.
    pub fn advance(&self, time: Duration) -> &Self {
        self.script.advance(time);
        self
    }

    /// Requests of the provider so far, with headers, body and timeout.
    pub fn requests(&self) -> Vec<Request> {
        self.script.requests()
    }

    /// gRPC calls of the provider so far, with metadata and message.
    pub fn calls(&self) -> Vec<Call> {
        self.script.calls()
    }

    /// Network calls of the provider so far.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.script.attachments()
    }

    /// Datagrams of the provider so far, each with its endpoint.
    pub fn datagrams(&self) -> Vec<(String, Vec<u8>)> {
        self.script.datagrams()
    }

    /// Log events of the provider so far.
    pub fn logs(&self) -> Vec<Logged> {
        self.script.logs()
    }

    /// Signals of the provider so far, as `command SIGTERM`.
    pub fn signals(&self) -> Vec<String> {
        self.script.signals()
    }

    /// Arguments and environment (`NAME=value`) of each spawn so far.
    pub fn spawned(&self) -> Vec<(Vec<String>, Vec<String>)> {
        self.script.spawned()
    }

    /// Virtual time since the harness was created.
    pub fn elapsed(&self) -> Duration {
        self.script.elapsed()
    }

    /// The value of this key in the provider's memo.
    pub fn memo(&self, key: &str) -> Option<Vec<u8>> {
        self.script.memo(key)
    }

    /// Runs a closure with this harness as the host.
    pub fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        let _installed = host::install(self.script.as_host());
        run()
    }

    fn call<R, E: Into<Error>>(&self, call: impl FnOnce() -> Result<R, E>) -> Result<R> {
        self.call_in_stage(Stage::Call, call)
    }

    fn call_in_stage<R, E: Into<Error>>(
        &self,
        stage: Stage,
        call: impl FnOnce() -> Result<R, E>,
    ) -> Result<R> {
        self.run(|| {
            self.script.begin(Stage::Configure);
            Glue::<P>::configure(self.settings.clone())?;
            self.script.begin(stage);
            let outcome = call().map_err(Into::into);
            self.script.begin(Stage::Call);
            outcome
        })
    }

    /// [`Provider::configure`]
    pub fn configure(&self) -> Result<()> {
        self.call(|| Ok::<_, Error>(()))
    }

    /// [`Provider::start`]
    pub fn start(&self, target: impl Into<Target>) -> Result<Observation> {
        self.call(|| Glue::<P>::start(target.into()))
    }

    /// [`Provider::stop`]
    pub fn stop(&self, target: impl Into<Target>, options: StopOptions) -> Result<Observation> {
        self.call(|| Glue::<P>::stop(target.into(), options))
    }

    /// [`Provider::pause`]
    pub fn pause(&self, target: impl Into<Target>) -> Result<Observation> {
        self.call(|| Glue::<P>::pause(target.into()))
    }

    /// [`Provider::resume`]
    pub fn resume(&self, target: impl Into<Target>) -> Result<Observation> {
        self.call(|| Glue::<P>::resume(target.into()))
    }

    /// [`Provider::kill`]
    pub fn kill(&self, target: impl Into<Target>, signal: Option<&str>) -> Result<Observation> {
        self.call(|| Glue::<P>::kill(target.into(), signal.map(str::to_owned)))
    }

    /// [`Provider::status`]
    pub fn status(&self, target: impl Into<Target>) -> Result<Observation> {
        self.call(|| Glue::<P>::status(target.into()))
    }

    /// [`Provider::list`]
    pub fn list(&self, cursor: Option<&str>) -> Result<Page> {
        self.call(|| Glue::<P>::list(cursor.map(str::to_owned)))
    }

    /// [`Provider::recreate`]
    pub fn recreate(
        &self,
        target: impl Into<Target>,
        options: RecreateOptions,
    ) -> Result<Observation> {
        self.call(|| Glue::<P>::recreate(target.into(), options))
    }

    /// [`Provider::fetch`]
    pub fn fetch(&self, target: impl Into<Target>) -> Result<()> {
        self.call(|| Glue::<P>::fetch(target.into()))
    }

    /// [`Provider::remove`]
    pub fn remove(&self, target: impl Into<Target>, options: RemoveOptions) -> Result<()> {
        self.call(|| Glue::<P>::remove(target.into(), options))
    }

    /// [`Provider::logs`]
    pub fn logs_of(&self, target: impl Into<Target>, lines: u32) -> Result<Vec<String>> {
        self.call(|| Glue::<P>::logs(target.into(), lines))
    }

    /// [`Provider::exec`]
    pub fn exec(&self, target: impl Into<Target>, command: &[&str]) -> Result<Exit> {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        self.call(|| Glue::<P>::exec(target.into(), command))
    }

    /// [`Provider::usage`]
    pub fn usage(&self, target: impl Into<Target>) -> Result<Usage> {
        self.call(|| Glue::<P>::usage(target.into()))
    }

    /// Runs [`Provider::watch`] until it fails or the script ends.
    pub fn watch(&self) -> Watched {
        let watch = || self.call_in_stage(Stage::Watch, Glue::<P>::watch);
        let (error, dropped) = match catch_unwind(AssertUnwindSafe(watch)) {
            Ok(Ok(())) => panic!("watch returned without an error, but must return only with one"),
            Ok(Err(error)) => (Some(error), None),
            Err(panic) => match panic.downcast::<Dropped>() {
                Ok(dropped) => (None, Some(dropped.0)),
                Err(panic) => resume_unwind(panic),
            },
        };
        Watched { reports: self.script.take_reports(), error, dropped }
    }
}

impl<P> Drop for Harness<P> {
    fn drop(&mut self) {
        let unmet = self.script.unmet();
        if !unmet.is_empty() && !std::thread::panicking() {
            panic!("expected calls that the provider did not make: {unmet:#?}");
        }
    }
}

// === impl Watched ===

impl Watched {
    /// The observations among the reports.
    pub fn observations(&self) -> Vec<&Observation> {
        let mut observations = Vec::new();
        for report in &self.reports {
            if let Report::Event(event) = report {
                observations.push(&event.observation);
            }
        }
        observations
    }
}

// === impl Target ===

impl From<&str> for Target {
    fn from(handle: &str) -> Self {
        Self { handle: handle.to_owned(), settings: "{}".to_owned(), attributes: Vec::new() }
    }
}

impl From<(&str, serde_json::Value)> for Target {
    fn from((handle, settings): (&str, serde_json::Value)) -> Self {
        Self { settings: settings.to_string(), ..Self::from(handle) }
    }
}

// === impl Silent ===

impl Provider for Silent {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("silent", env!("CARGO_PKG_VERSION"), "does nothing")
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[cfg(test)]
mod tests;
