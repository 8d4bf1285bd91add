//! The process provider of drowse: granted commands as workloads. A target is the granted name of a
//! command; a start spawns it, and its address comes from the target's settings.

#![forbid(unsafe_code)]

mod control;
mod settings;

use drowse_provider_sdk::{
    Ability, CommandWish, Description, NoSettings, Observation, Page, Provider, Result,
    StopOptions, Target, Usage, command, events, warn,
};

use crate::{control::Control, settings::TargetSettings};

/// The commands granted to the provider.
pub struct Processes;

drowse_provider_sdk::export!(Processes);

// === impl Processes ===

impl Provider for Processes {
    type Settings = NoSettings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new("process", env!("CARGO_PKG_VERSION"), "programs of this machine")
            .abilities([
                Ability::StopSignal,
                Ability::Pause,
                Ability::Kill,
                Ability::List,
                Ability::Watch,
                Ability::Logs,
                Ability::Usage,
            ])
            .command(CommandWish::new("*", "the programs that sleep and wake"))
            .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::of(target)?.start()
    }

    fn stop(&self, target: &Target<TargetSettings>, options: &StopOptions) -> Result<Observation> {
        Control::of(target)?.stop(options.signal.as_deref(), options.grace())
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::of(target)?.pause()
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::of(target)?.resume()
    }

    fn kill(&self, target: &Target<TargetSettings>, signal: Option<&str>) -> Result<Observation> {
        Control::of(target)?.kill(signal)
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::of(target)?.observe()
    }

    fn list(&self, _: Option<&str>) -> Result<Page> {
        let granted = command::granted();
        let observe = |name: &String| Control::named(name).observe();
        Ok(Page::last(granted.iter().map(observe).collect::<Result<_>>()?))
    }

    /// The listening address is in the target's settings, which a watch does not have: its
    /// observations have no addresses.
    fn watch(&self) -> Result<()> {
        events::synced();
        let mut cursor = 0;
        loop {
            let (next, changed) = command::changes(cursor)?;
            cursor = next;
            for name in &changed {
                match Control::named(name).observe() {
                    Ok(seen) => events::emit(seen),
                    Err(error) => {
                        warn!("cannot inspect a process that changed: {error}");
                        events::synced();
                    }
                }
            }
        }
    }

    fn logs(&self, target: &Target<TargetSettings>, lines: u32) -> Result<Vec<String>> {
        Control::of(target)?.logs(lines)
    }

    fn usage(&self, target: &Target<TargetSettings>) -> Result<Usage> {
        Control::of(target)?.usage()
    }
}

#[cfg(test)]
mod tests;
