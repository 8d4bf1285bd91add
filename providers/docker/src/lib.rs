//! The docker provider of drowse: containers of Docker and Podman as workloads.
//!
//! A target is a container's name. States, status codes and events follow the Engine API
//! (<https://docs.docker.com/reference/api/engine/>) and the observed behaviour of engines.

#![forbid(unsafe_code)]

mod address;
mod api;
mod control;
mod create_request;
mod events;
mod exec;
mod image;
mod list;
mod logs;
mod model;
mod observe;
mod pull;
mod recreate;
mod remove;
mod settings;
mod time;
mod usage;

use drowse_provider_sdk::{
    Ability, Description, EndpointWish, Exit, Observation, Page, Provider, RecreateOptions,
    RemoveOptions, Result, StopOptions, Target, Usage,
};

use crate::{
    api::Engine,
    control::Container,
    image::Images,
    recreate::Recreation,
    settings::{Settings, TargetSettings},
};

/// Default socket of an engine.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// Containers of one engine.
pub struct Docker {
    settings: Settings,
    engine: Engine,
}

drowse_provider_sdk::export!(Docker);

// === impl Docker ===

impl Docker {
    fn container<'a>(&'a self, target: &'a Target<TargetSettings>) -> Result<Container<'a>> {
        let rules = self.settings.address_rules(&target.settings);
        Container::new(&self.engine, &target.handle, rules)
    }
}

impl Provider for Docker {
    type Settings = Settings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new("docker", env!("CARGO_PKG_VERSION"), "containers of Docker and Podman")
            .abilities([
                Ability::StopSignal,
                Ability::Pause,
                Ability::Kill,
                Ability::List,
                Ability::Watch,
                Ability::Recreate,
                Ability::Fetch,
                Ability::Remove,
                Ability::Logs,
                Ability::Exec,
                Ability::Usage,
            ])
            .endpoint(
                EndpointWish::new(api::ENDPOINT, "the engine's API: starts and stops containers")
                    .suggested_url(SOCKET)
                    .rules([
                        "GET /_ping",
                        "GET /*/events?since=*&filters=*",
                        "GET /*/containers/json?all=1&limit=*&filters=*",
                        "GET /*/containers/*/json",
                        "GET /*/containers/*/logs?stdout=1&stderr=1&tail=*",
                        "GET /*/containers/*/stats?stream=0&one-shot=1",
                        "POST /*/containers/*/start",
                        "POST /*/containers/*/stop?t=*&signal=*",
                        "POST /*/containers/*/kill?signal=*",
                        "POST /*/containers/*/pause",
                        "POST /*/containers/*/unpause",
                    ]),
            )
            .endpoint(
                EndpointWish::new(
                    api::EXEC_ENDPOINT,
                    "the same engine's API, to run commands inside containers, needed by the \
                     readiness check `exec`; this is equivalent to root on the engine's machine",
                )
                .suggested_url(SOCKET)
                .rules([
                    "POST+body /*/containers/*/exec",
                    "POST+body /*/exec/*/start",
                    "GET /*/exec/*/json",
                ])
                .optional(),
            )
            .endpoint(
                EndpointWish::new(
                    api::RECREATE_ENDPOINT,
                    "the same engine's API, to recreate containers and to pull their images; \
                     this is equivalent to root on the engine's machine",
                )
                .suggested_url(SOCKET)
                .rules([
                    "GET /*/images/**",
                    "GET /*/distribution/**",
                    "POST /*/images/create?fromImage=*&tag=*",
                    "POST+body /*/containers/create?name=*",
                    "POST /*/containers/*/rename?name=*",
                    "POST+body /*/networks/*/connect",
                    "DELETE /*/containers/*?force=1&v=1",
                ])
                .optional(),
            )
            .endpoint(
                EndpointWish::new(
                    api::REMOVE_ENDPOINT,
                    "the same engine's API, to remove containers and their anonymous volumes",
                )
                .suggested_url(SOCKET)
                .rules(["DELETE /*/containers/*?force=1&v=1", "DELETE /*/volumes/*"])
                .optional(),
            )
            .endpoint(
                EndpointWish::new(
                    api::REGISTRY_ENDPOINT,
                    "the same engine's API, to pull images from a registry with credentials: put \
                     them into `headers`, and replace registry.example in `settings.registries` \
                     and the rules",
                )
                .suggested_url(SOCKET)
                .rules([
                    "GET /*/distribution/registry.example/**",
                    "POST /*/images/create?fromImage=registry.example/*&tag=*",
                ])
                .rules_follow(["registries"])
                .optional(),
            )
            .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings, engine: Engine::default() })
    }

    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.container(target)?.start()
    }

    fn stop(&self, target: &Target<TargetSettings>, options: &StopOptions) -> Result<Observation> {
        self.container(target)?.stop(options.signal.as_deref(), options.grace())
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.container(target)?.pause()
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.container(target)?.resume()
    }

    fn kill(&self, target: &Target<TargetSettings>, signal: Option<&str>) -> Result<Observation> {
        self.container(target)?.kill(signal)
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.container(target)?.observe()
    }

    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        list::page(&self.engine, &self.settings, cursor)
    }

    fn watch(&self) -> Result<()> {
        events::watch(&self.engine, &self.settings)
    }

    fn recreate(
        &self,
        target: &Target<TargetSettings>,
        options: &RecreateOptions,
    ) -> Result<Observation> {
        let container = self.container(target)?;
        let images = Images::new(&self.engine, &self.settings);
        Recreation::new(&container, images, options).run()
    }

    fn fetch(&self, target: &Target<TargetSettings>) -> Result<()> {
        recreate::fetch(&self.container(target)?, Images::new(&self.engine, &self.settings))
    }

    fn remove(&self, target: &Target<TargetSettings>, options: &RemoveOptions) -> Result<()> {
        remove::remove(&self.container(target)?, options.preserve_data)
    }

    fn logs(&self, target: &Target<TargetSettings>, lines: u32) -> Result<Vec<String>> {
        self.container(target)?.logs(lines)
    }

    fn exec(&self, target: &Target<TargetSettings>, command: &[String]) -> Result<Exit> {
        self.container(target)?.exec(command)
    }

    fn usage(&self, target: &Target<TargetSettings>) -> Result<Usage> {
        self.container(target)?.usage()
    }
}

#[cfg(test)]
mod tests;
