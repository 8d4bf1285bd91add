//! The containerd provider of drowse: containers without an engine above them.
//!
//! A target is a container's id in one namespace. Calls and codes follow containerd's API
//! (<https://github.com/containerd/containerd/tree/main/api>) and its observed behaviour.

#![forbid(unsafe_code)]

mod container;
mod create;
mod daemon;
mod data;
mod events;
mod fetch;
mod image;
mod lease;
mod list;
mod manifest;
mod observe;
mod proto;
mod pull;
mod registry;
mod settings;
mod signals;
mod spec;
mod unpack;
mod usage;

use drowse_provider_sdk::{
    Ability, Description, EndpointWish, NetworkWish, Observation, Page, Provider, RecreateOptions,
    RemoveOptions, Result, StopOptions, Target, Usage,
};

use crate::{
    daemon::Daemon,
    settings::{Settings, TargetSettings},
};

/// Default socket of containerd.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// Containers of one namespace.
pub struct Containerd {
    settings: Settings,
    daemon: Daemon,
}

drowse_provider_sdk::export!(Containerd);

// === impl Containerd ===

impl Containerd {
    fn target<'a>(&'a self, target: &'a Target<TargetSettings>) -> Result<container::Target<'a>> {
        container::Target::new(&self.daemon, &self.settings, &target.handle, &target.settings)
    }
}

impl Provider for Containerd {
    type Settings = Settings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new("containerd", env!("CARGO_PKG_VERSION"), "containers of containerd")
            .abilities([
                Ability::StopSignal,
                Ability::Pause,
                Ability::Kill,
                Ability::List,
                Ability::Watch,
                Ability::Recreate,
                Ability::Fetch,
                Ability::Remove,
                Ability::Usage,
            ])
            .endpoint(
                EndpointWish::new(
                    daemon::ENDPOINT,
                    "containerd's API: creates, starts and stops containers; this is equivalent to \
                     root on its machine",
                )
                .suggested_url(SOCKET)
                .rules(daemon::RULES),
            )
            .endpoint(
                EndpointWish::new(
                    registry::ENDPOINT,
                    "a registry, to find and pull newer images; `settings.registries` maps it",
                )
                .rules(registry::RULES)
                .optional(),
            )
            .network(
                NetworkWish::new(
                    "*",
                    "assigns addresses to containers with their own network namespace; not needed \
                     by those that share the host's network",
                )
                .named_by("network")
                .optional(),
            )
            .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(settings: Settings) -> Result<Self> {
        settings.check()?;
        let daemon = Daemon::new(&settings.namespace);
        Ok(Self { settings, daemon })
    }

    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.target(target)?.start()
    }

    fn stop(&self, target: &Target<TargetSettings>, options: &StopOptions) -> Result<Observation> {
        self.target(target)?.stop(options.signal.as_deref(), options.grace())
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.target(target)?.pause()
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.target(target)?.resume()
    }

    fn kill(&self, target: &Target<TargetSettings>, signal: Option<&str>) -> Result<Observation> {
        self.target(target)?.kill(signal)
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.target(target)?.observe()
    }

    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        list::page(&self.daemon, cursor)
    }

    fn watch(&self) -> Result<()> {
        events::watch(&self.daemon)
    }

    fn recreate(
        &self,
        target: &Target<TargetSettings>,
        options: &RecreateOptions,
    ) -> Result<Observation> {
        self.target(target)?.recreate(options)
    }

    fn fetch(&self, target: &Target<TargetSettings>) -> Result<()> {
        self.target(target)?.fetch()
    }

    fn remove(&self, target: &Target<TargetSettings>, options: &RemoveOptions) -> Result<()> {
        self.target(target)?.remove(options)
    }

    fn usage(&self, target: &Target<TargetSettings>) -> Result<Usage> {
        self.target(target)?.usage()
    }
}

#[cfg(test)]
mod tests;
