//! The one trait a provider implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    description::Description,
    error::{Error, Result},
    words::{
        Attribute, Exit, Observation, Page, RecreateOptions, RemoveOptions, StopOptions, Usage,
    },
};

/// A platform's handle for a workload, with the workload's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<S> {
    /// Container name, `node/vmid`, server name, command name.
    pub handle: String,
    /// What the operator wrote for this target.
    pub settings: S,
    /// What the contract did not foresee.
    pub attributes: Vec<Attribute>,
}

/// Controls one platform.
///
/// The functions with a body are abilities: they answer `unsupported` until they are implemented,
/// and [`Description::abilities`] names those that are. Calls may run at the same time, also on
/// the same target, each in an instance of its own. Repeating a call must be safe.
pub trait Provider: Sized + 'static {
    /// What the operator writes for the provider. `#[serde(deny_unknown_fields)]`.
    type Settings: DeserializeOwned + JsonSchema;

    /// What the operator writes for each target. `#[serde(deny_unknown_fields)]`.
    type TargetSettings: DeserializeOwned + JsonSchema;

    /// What this plugin is. Calls nothing outside.
    fn describe() -> Description;

    /// Checks the settings and keeps them. Calls nothing outside: it runs before every call.
    fn configure(settings: Self::Settings) -> Result<Self>;

    /// Makes the target run, from whatever state it is in; a paused target continues. Success
    /// when it runs already. Does not wait until it is healthy. Returns the state afterwards,
    /// with the addresses of this life.
    fn start(&self, target: &Target<Self::TargetSettings>) -> Result<Observation>;

    /// Stops the target and returns when it has stopped, killed after the grace time if need be.
    /// Success when it does not run.
    fn stop(
        &self,
        target: &Target<Self::TargetSettings>,
        options: &StopOptions,
    ) -> Result<Observation>;

    /// What the target is now. One that does not exist is [`Observation::missing`], not an error.
    fn status(&self, target: &Target<Self::TargetSettings>) -> Result<Observation>;

    /// Holds the target in memory without running. Success when it is paused already, `conflict`
    /// when it does not run.
    fn pause(&self, target: &Target<Self::TargetSettings>) -> Result<Observation> {
        Err(unsupported("pause", &target.handle))
    }

    /// Continues a paused target. Success when it runs.
    fn resume(&self, target: &Target<Self::TargetSettings>) -> Result<Observation> {
        Err(unsupported("resume", &target.handle))
    }

    /// Ends the target without asking. Success when it does not run.
    fn kill(
        &self,
        target: &Target<Self::TargetSettings>,
        signal: Option<&str>,
    ) -> Result<Observation> {
        let _ = signal;
        Err(unsupported("kill", &target.handle))
    }

    /// Everything on the platform that could be a target, in pages; `cursor` is the last page's
    /// [`Page::next`].
    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        let _ = cursor;
        Err(Error::unsupported("list: this provider has no list of targets"))
    }

    /// Reports changes through [`events`](crate::events) until the host drops the call. Returns
    /// only with an error; the host then begins it anew after a pause.
    fn watch(&self) -> Result<()> {
        Err(Error::unsupported("watch: this provider does not report changes"))
    }

    /// Makes the target anew from what it was made of, under the same handle. It runs afterwards if
    /// it ran before.
    fn recreate(
        &self,
        target: &Target<Self::TargetSettings>,
        options: &RecreateOptions,
    ) -> Result<Observation> {
        let _ = options;
        Err(unsupported("recreate", &target.handle))
    }

    /// Gets what [`recreate`](Self::recreate) with `refresh` would get, and leaves the target as it
    /// is. Success when there is nothing newer, and when what is here has to do.
    fn fetch(&self, target: &Target<Self::TargetSettings>) -> Result<()> {
        Err(unsupported("fetch what is newer for", &target.handle))
    }

    /// Takes the target away. Success when it does not exist.
    fn remove(&self, target: &Target<Self::TargetSettings>, options: &RemoveOptions) -> Result<()> {
        let _ = options;
        Err(unsupported("remove", &target.handle))
    }

    /// The last lines the target wrote, oldest first.
    fn logs(&self, target: &Target<Self::TargetSettings>, lines: u32) -> Result<Vec<String>> {
        let _ = lines;
        Err(unsupported("read the logs of", &target.handle))
    }

    /// Runs a program inside the target, without input, and returns when it has ended; a status
    /// other than 0 is no error. No shell looks at the command, and it is not empty. `conflict`
    /// when the target does not run.
    fn exec(&self, target: &Target<Self::TargetSettings>, command: &[String]) -> Result<Exit> {
        let _ = command;
        Err(unsupported("run a command in", &target.handle))
    }

    /// What the target uses now. [`Usage::nothing`] when it does not run.
    fn usage(&self, target: &Target<Self::TargetSettings>) -> Result<Usage> {
        Err(unsupported("tell the usage of", &target.handle))
    }
}

fn unsupported(what: &str, handle: &str) -> Error {
    Error::unsupported(format!("{what} {handle:?}: this provider cannot do that"))
}
