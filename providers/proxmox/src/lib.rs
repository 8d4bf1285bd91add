//! The proxmox provider of drowse: containers (LXC) and virtual machines (QEMU) of Proxmox VE as
//! workloads.
//!
//! A target is a guest's VMID; its node is looked up, and looked up again after a migration. The
//! API's behaviour follows its published schema (<https://pve.proxmox.com/pve-docs/api-viewer/>)
//! and the sources of Proxmox VE 7 to 9.

#![forbid(unsafe_code)]

mod address;
mod answer;
mod api;
mod awaited;
mod backoff;
mod config;
mod control;
mod guest;
mod handle;
mod list;
mod location_cache;
mod observe;
mod settings;
mod sleep;
mod task;
mod usage;
mod wake;
mod watch;

use drowse_provider_sdk::{
    Ability, Description, EndpointWish, Observation, Page, Provider, Result, StopOptions, Target,
    Usage, poll,
};

use crate::{
    control::Control,
    settings::{Settings, TargetSettings},
    watch::Poller,
};

/// Guests of one cluster or of one standalone node.
pub struct Proxmox {
    settings: Settings,
}

drowse_provider_sdk::export!(Proxmox);

// === impl Proxmox ===

impl Provider for Proxmox {
    type Settings = Settings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new(
            "proxmox",
            env!("CARGO_PKG_VERSION"),
            "containers and virtual machines of Proxmox VE",
        )
        .abilities([Ability::Pause, Ability::Kill, Ability::List, Ability::Watch, Ability::Usage])
        .endpoint(
            EndpointWish::new(
                api::ENDPOINT,
                "the API of one node: starts and stops guests; needs a token, as \
                 headers.Authorization = \"PVEAPIToken=USER@REALM!NAME=SECRET\"",
            )
            .suggested_url("https://pve.lan:8006")
            .rules([
                "GET /api2/json/cluster/resources?type=vm",
                "GET /api2/json/access/permissions?path=/vms/*",
                "GET /api2/json/nodes/*/tasks/*/status",
                "GET /api2/json/nodes/*/lxc/*/status/current",
                "GET /api2/json/nodes/*/lxc/*/config?current=1",
                "GET /api2/json/nodes/*/lxc/*/interfaces",
                "POST /api2/json/nodes/*/lxc/*/status/start",
                "POST+body /api2/json/nodes/*/lxc/*/status/shutdown",
                "POST+body /api2/json/nodes/*/lxc/*/status/stop",
                "GET /api2/json/nodes/*/qemu/*/status/current",
                "GET /api2/json/nodes/*/qemu/*/config?current=1",
                "GET /api2/json/nodes/*/qemu/*/agent/network-get-interfaces",
                "POST /api2/json/nodes/*/qemu/*/status/start",
                "POST+body /api2/json/nodes/*/qemu/*/status/shutdown",
                "POST+body /api2/json/nodes/*/qemu/*/status/stop",
                "POST+body /api2/json/nodes/*/qemu/*/status/suspend",
                "POST /api2/json/nodes/*/qemu/*/status/resume",
            ]),
        )
        .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::get("start", &self.settings, target)?.start()
    }

    fn stop(&self, target: &Target<TargetSettings>, options: &StopOptions) -> Result<Observation> {
        match Control::find("stop", &self.settings, target)? {
            Some(control) => control.stop(options.grace()),
            None => Ok(Observation::missing(&target.handle)),
        }
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::get("pause", &self.settings, target)?.pause()
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        Control::get("resume", &self.settings, target)?.resume()
    }

    /// Guests take no signals.
    fn kill(&self, target: &Target<TargetSettings>, _: Option<&str>) -> Result<Observation> {
        match Control::find("kill", &self.settings, target)? {
            Some(control) => control.kill(),
            None => Ok(Observation::missing(&target.handle)),
        }
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        match Control::find("query", &self.settings, target)? {
            Some(control) => control.status(),
            None => Ok(Observation::missing(&target.handle)),
        }
    }

    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        list::page(cursor)
    }

    fn watch(&self) -> Result<()> {
        let mut poller = Poller::new(&self.settings);
        poll::watch(self.settings.every.0, || poller.poll())
    }

    fn usage(&self, target: &Target<TargetSettings>) -> Result<Usage> {
        usage::of(&Control::get("measure the usage of", &self.settings, target)?)
    }
}

#[cfg(test)]
mod tests;
