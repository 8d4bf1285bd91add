//! The trait that a provider implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    description::Description,
    error::{Error, Result},
    words::{
        Attribute, Exit, Observation, Page, RecreateOptions, RemoveOptions, StopOptions, Usage,
    },
};

/// A platform's handle of a workload, with the workload's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<S> {
    /// Container name, `node/vmid`, server name, command name.
    pub handle: String,
    /// The operator's settings of this target.
    pub settings: S,
    /// Extensions of the contract.
    pub attributes: Vec<Attribute>,
}

/// Controls one platform.
///
/// The functions with a body are abilities: they answer `unsupported` until they are implemented,
/// and [`Description::abilities`] declares the implemented ones. Calls may run concurrently, also
/// on the same target, each in an instance of its own. Repeating a call must be safe.
pub trait Provider: Sized + 'static {
    /// The operator's settings of the provider. `#[serde(deny_unknown_fields)]`.
    type Settings: DeserializeOwned + JsonSchema;

    /// The operator's settings of each target. `#[serde(deny_unknown_fields)]`.
    type TargetSettings: DeserializeOwned + JsonSchema;

    /// Describes the plugin. Makes no host calls.
    fn describe() -> Description;

    /// Validates and stores the settings. Makes no host calls: it runs before every call.
    fn configure(settings: Self::Settings) -> Result<Self>;

    /// Starts the target from any state; a paused target is resumed. Succeeds if it runs already.
    /// Does not wait until it is healthy. Returns the state afterwards, with the addresses of the
    /// new instance.
    fn start(&self, target: &Target<Self::TargetSettings>) -> Result<Observation>;

    /// Stops the target and returns when it has stopped, killing it after the grace time. Succeeds
    /// if it does not run.
    fn stop(
        &self,
        target: &Target<Self::TargetSettings>,
        options: &StopOptions,
    ) -> Result<Observation>;

    /// Current state of the target. A missing target is [`Observation::missing`], not an error.
    fn status(&self, target: &Target<Self::TargetSettings>) -> Result<Observation>;

    /// Pauses the target in memory. Succeeds if it is paused already, `conflict` if it does not
    /// run.
    fn pause(&self, target: &Target<Self::TargetSettings>) -> Result<Observation> {
        Err(unsupported("pause", &target.handle))
    }

    /// Resumes a paused target. Succeeds if it runs.
    fn resume(&self, target: &Target<Self::TargetSettings>) -> Result<Observation> {
        Err(unsupported("resume", &target.handle))
    }

    /// Kills the target. Succeeds if it does not run.
    fn kill(
        &self,
        target: &Target<Self::TargetSettings>,
        signal: Option<&str>,
    ) -> Result<Observation> {
        let _ = signal;
        Err(unsupported("kill", &target.handle))
    }

    /// All possible targets of the platform, in pages; `cursor` is the previous page's
    /// [`Page::next`].
    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        let _ = cursor;
        Err(Error::unsupported("list: this provider has no list of targets"))
    }

    /// Reports changes through [`events`](crate::events) until the host drops the call. Returns
    /// only with an error; the host then restarts it after a pause.
    fn watch(&self) -> Result<()> {
        Err(Error::unsupported("watch: this provider does not report changes"))
    }

    /// Recreates the target from its definition, under the same handle. It runs afterwards if it
    /// ran before.
    fn recreate(
        &self,
        target: &Target<Self::TargetSettings>,
        options: &RecreateOptions,
    ) -> Result<Observation> {
        let _ = options;
        Err(unsupported("recreate", &target.handle))
    }

    /// Fetches what [`recreate`](Self::recreate) with `refresh` would fetch, without changing the
    /// target. Succeeds if there is nothing newer, and if only the local version is available.
    fn fetch(&self, target: &Target<Self::TargetSettings>) -> Result<()> {
        Err(unsupported("fetch a newer version for", &target.handle))
    }

    /// Removes the target. Succeeds if it does not exist.
    fn remove(&self, target: &Target<Self::TargetSettings>, options: &RemoveOptions) -> Result<()> {
        let _ = options;
        Err(unsupported("remove", &target.handle))
    }

    /// The last lines of the target's output, oldest first.
    fn logs(&self, target: &Target<Self::TargetSettings>, lines: u32) -> Result<Vec<String>> {
        let _ = lines;
        Err(unsupported("read the logs of", &target.handle))
    }

    /// Runs a program inside the target, without input and without a shell, and returns when it has
    /// ended; an exit status other than 0 is no error. The command is not empty. `conflict` if the
    /// target does not run.
    fn exec(&self, target: &Target<Self::TargetSettings>, command: &[String]) -> Result<Exit> {
        let _ = command;
        Err(unsupported("run a command in", &target.handle))
    }

    /// Current resource usage of the target. [`Usage::nothing`] if it does not run.
    fn usage(&self, target: &Target<Self::TargetSettings>) -> Result<Usage> {
        Err(unsupported("measure the usage of", &target.handle))
    }
}

fn unsupported(what: &str, handle: &str) -> Error {
    Error::unsupported(format!("{what} {handle:?}: this provider cannot do that"))
}
