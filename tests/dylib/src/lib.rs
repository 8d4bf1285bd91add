//! A provider for tests of the ABI of dynamic libraries. The handle of the started target selects its
//! behaviour: `panic`, `hang:FILE`, `get:/path`.

#![forbid(unsafe_code)]

use std::{fs, panic::panic_any, path::Path, thread, time::Duration};

use drowse_provider_sdk::{
    Ability, Address, Description, Endpoint, EndpointWish, Error, Exit, NoSettings, Observation,
    Page, Provider, RecreateOptions, RemoveOptions, Result, Status, StopOptions, Target, Usage,
    clock, events, info, memo,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The provider.
pub struct Guest {
    watch: Watch,
}

/// Settings of the provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Panic in `configure`.
    #[serde(default)]
    panic: bool,
    /// Refuse the settings.
    #[serde(default)]
    refuse: bool,
    /// Behaviour of `watch`.
    #[serde(default)]
    watch: Watch,
}

/// Behaviour of `watch`.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// Reports one target and waits.
    #[default]
    Well,
    /// Panics after that.
    Panic,
}

/// Writes a file when it is dropped.
struct Mark<'a>(&'a Path);

/// A panic payload whose destructor panics.
struct PanicOnDrop;

impl Provider for Guest {
    type Settings = Settings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("guest", env!("CARGO_PKG_VERSION"), "tests the ABI")
            .abilities([Ability::Kill, Ability::List, Ability::Watch, Ability::Usage])
            .endpoint(EndpointWish::new("engine", "is asked").rules(["GET /**"]).optional())
    }

    fn configure(settings: Settings) -> Result<Self> {
        assert!(!settings.panic, "no such luck");
        if settings.refuse {
            return Err(Error::invalid_request("refused settings"));
        }
        Ok(Self { watch: settings.watch })
    }

    fn start(&self, target: &Target<NoSettings>) -> Result<Observation> {
        let (what, rest) = target.handle.split_once(':').unwrap_or((&target.handle, ""));
        match what {
            "panic" => panic!("no such luck"),
            "sore" => panic_any(PanicOnDrop),
            "conflict" => Err(Error::conflict("another operation is running")),
            // Makes no host call, so it cannot be cancelled, until the file is gone.
            "hang" => {
                while Path::new(rest).exists() {
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(running(target))
            }
            // Waits in the router, and writes a file when it unwinds.
            "wait" => {
                let mark = Mark(Path::new(rest));
                // A failure makes the test fail.
                let _ = fs::write(mark.0, "begun");
                clock::sleep(Duration::from_secs(3600));
                Ok(running(target))
            }
            "get" => {
                let answer = Endpoint::new("engine").get(rest).send()?.text()?;
                Ok(running(target).with_detail(answer))
            }
            "count" => {
                let before = memo::text("count").and_then(|count| count.parse().ok()).unwrap_or(0);
                memo::set("count", (before + 1).to_string());
                Ok(running(target).with_detail(before.to_string()))
            }
            "log" => {
                info!(field = rest; "said by the guest");
                Ok(running(target))
            }
            _ => Ok(running(target)),
        }
    }

    fn stop(&self, target: &Target<NoSettings>, options: &StopOptions) -> Result<Observation> {
        let detail = format!("{:?} {}", options.signal, options.grace_ms);
        Ok(Observation::new(&target.handle, Status::Stopped, "off").with_detail(detail))
    }

    fn status(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(running(target).with_address(Address::new("127.0.0.1").with_port(80)))
    }

    fn watch(&self) -> Result<()> {
        events::synced();
        events::emit(Observation::new("seen", Status::Running, "on"));
        match self.watch {
            Watch::Well => loop {
                clock::sleep(Duration::from_secs(3600));
            },
            Watch::Panic => panic!("no such luck"),
        }
    }

    fn kill(&self, target: &Target<NoSettings>, signal: Option<&str>) -> Result<Observation> {
        Ok(running(target).with_detail(signal.unwrap_or("none")))
    }

    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        let seen = Observation::new(cursor.unwrap_or("first"), Status::Paused, "held");
        Ok(Page { observations: vec![seen], next: cursor.is_none().then(|| "second".into()) })
    }

    fn recreate(
        &self,
        target: &Target<NoSettings>,
        options: &RecreateOptions,
    ) -> Result<Observation> {
        let RecreateOptions { refresh, stop, .. } = options;
        Ok(running(target).with_detail(format!("{refresh} {:?} {}", stop.signal, stop.grace_ms)))
    }

    fn fetch(&self, target: &Target<NoSettings>) -> Result<()> {
        Err(Error::unavailable(format!("no newer version of {} is known", target.handle)))
    }

    fn remove(&self, target: &Target<NoSettings>, options: &RemoveOptions) -> Result<()> {
        match options.preserve_data {
            true => Ok(()),
            false => Err(Error::denied(format!("the data of {} stays", target.handle))),
        }
    }

    fn exec(&self, _: &Target<NoSettings>, command: &[String]) -> Result<Exit> {
        Ok(Exit::new(-3, command))
    }

    fn usage(&self, _: &Target<NoSettings>) -> Result<Usage> {
        Ok(Usage { cpu_percent: Some(12.5), memory: Some(1 << 40), attributes: Vec::new() })
    }

    fn logs(&self, _: &Target<NoSettings>, lines: u32) -> Result<Vec<String>> {
        Ok((0..lines).map(|line| format!("line {line}")).collect())
    }
}

fn running(target: &Target<NoSettings>) -> Observation {
    Observation::new(&target.handle, Status::Running, "on")
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        // A host call during unwinding must not end the router.
        clock::monotonic();
        // A failure makes the test fail.
        let _ = fs::write(self.0, "dropped");
    }
}

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("even now");
    }
}

drowse_provider_sdk::export!(Guest);
