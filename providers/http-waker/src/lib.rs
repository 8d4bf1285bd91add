//! The http-waker provider of drowse: controls targets by any HTTP API. A target is a name that the
//! API knows; the settings define requests and responses.

#![forbid(unsafe_code)]

mod concurrent_call;
mod control_plane;
mod settings;
mod template;

use drowse_provider_sdk::{
    Ability, Description, Endpoint, EndpointWish, Error, Observation, Page, Provider, Result,
    Status, StopOptions, Target, poll,
};

use crate::{
    control_plane::{ControlPlane, ENDPOINT, lacks_address, observe, refusal, text},
    settings::{List, Request, Settings, TargetSettings},
};

/// Maximum observations of a page.
const PAGE: usize = 500;

/// The control plane behind the granted endpoint.
pub struct Waker {
    settings: Settings,
}

drowse_provider_sdk::export!(Waker);

// === impl Provider ===

impl Provider for Waker {
    type Settings = Settings;
    type TargetSettings = TargetSettings;

    fn describe() -> Description {
        Description::new("http-waker", env!("CARGO_PKG_VERSION"), "anything with an HTTP API")
            .abilities([Ability::Pause, Ability::Kill, Ability::List, Ability::Watch])
            .endpoint(
                EndpointWish::new(ENDPOINT, "starts, stops and queries targets")
                    .suggested_url("http://127.0.0.1:9000")
                    .rules(["GET /servers/*", "POST /servers/*/start", "POST /servers/*/stop"])
                    .rules_follow(["start", "stop", "status"]),
            )
            .attribute("license", env!("CARGO_PKG_LICENSE"))
    }

    fn configure(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// Queries first, so that a running target is not started again. Then waits until the target
    /// runs and has an address, because traffic cannot be forwarded earlier.
    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let control_plane = self.control_plane(target)?;
        let seen = control_plane.query()?;
        self.ensure_running(&control_plane, seen)
    }

    fn stop(&self, target: &Target<TargetSettings>, _: &StopOptions) -> Result<Observation> {
        self.ensure_stopped(target, "stop", Some(&self.settings.stop))
    }

    fn kill(&self, target: &Target<TargetSettings>, _: Option<&str>) -> Result<Observation> {
        self.ensure_stopped(target, "kill", self.settings.kill.as_ref())
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let control_plane = self.control_plane(target)?;
        let pause = configured("pause", self.settings.pause.as_ref())?;
        let call = control_plane.call();
        let seen = control_plane.query()?;
        match seen.status {
            Status::Paused => return Ok(seen),
            Status::Running => control_plane.request("pause", pause)?,
            _ => {
                let why = format!("the target is {}; start it instead", seen.native_status);
                return Err(control_plane.with_context("pause", Error::conflict(why)));
            }
        }
        control_plane.wait("pause", &call, |seen| Ok(seen.status == Status::Paused))
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let control_plane = self.control_plane(target)?;
        let seen = control_plane.query()?;
        match seen.status {
            Status::Running | Status::Paused => self.ensure_running(&control_plane, seen),
            _ => {
                let why = format!("the target is {}; start it instead", seen.native_status);
                Err(control_plane.with_context("resume", Error::conflict(why)))
            }
        }
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.control_plane(target)?.query()
    }

    fn list(&self, cursor: Option<&str>) -> Result<Page> {
        let all = self.all(configured("list", self.settings.list.as_ref())?)?;
        let from = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(all.len());
        let to = (from + PAGE).min(all.len());
        let next = (to < all.len()).then(|| to.to_string());
        Ok(Page { observations: all[from..to].to_vec(), next })
    }

    fn watch(&self) -> Result<()> {
        let list = configured("list", self.settings.list.as_ref())?;
        poll::watch(list.every.0, || self.all(list))
    }
}

impl Waker {
    fn control_plane<'a>(&'a self, target: &'a Target<TargetSettings>) -> Result<ControlPlane<'a>> {
        ControlPlane::of(&self.settings, target)
    }

    /// Brings a target in this state to `running`.
    fn ensure_running(
        &self,
        control_plane: &ControlPlane<'_>,
        seen: Observation,
    ) -> Result<Observation> {
        let call = control_plane.call();
        match (&seen.status, &self.settings.resume) {
            (Status::Running, _) if !lacks_address(&seen) => return Ok(seen),
            (Status::Running | Status::Starting, _) => {}
            (Status::Paused, Some(resume)) => control_plane.request("start", resume)?,
            _ => control_plane.request("start", &self.settings.start)?,
        }
        control_plane.wait("start", &call, |seen| match seen.status {
            Status::Running => Ok(!lacks_address(seen)),
            Status::Failed => Err(Error::unavailable(match &seen.detail {
                Some(detail) => format!("the target is {}: {detail}", seen.native_status),
                None => format!("the target is {}", seen.native_status),
            })),
            _ => Ok(false),
        })
    }

    fn ensure_stopped(
        &self,
        target: &Target<TargetSettings>,
        verb: &str,
        request: Option<&Request>,
    ) -> Result<Observation> {
        let control_plane = self.control_plane(target)?;
        let request = configured(verb, request)?;
        let call = control_plane.call();
        let seen = control_plane.query()?;
        let is_stopped =
            |status: &Status| matches!(status, Status::Stopped | Status::Failed | Status::Missing);
        match &seen.status {
            status if is_stopped(status) => return Ok(seen),
            Status::Stopping => {}
            _ => control_plane.request(verb, request)?,
        }
        control_plane.wait(verb, &call, |seen| Ok(is_stopped(&seen.status)))
    }

    fn all(&self, list: &List) -> Result<Vec<Observation>> {
        let answer = Endpoint::new(ENDPOINT).get(&list.path).send()?;
        if !answer.is_success() {
            return Err(refusal(answer).context("list"));
        }
        let answer: serde_json::Value = answer.json()?;
        let items = answer.pointer(&list.items).and_then(serde_json::Value::as_array);
        let items = items.ok_or_else(|| {
            Error::internal(format!("list: GET {}: no list at {:?}", list.path, list.items))
        })?;
        let named = items.iter().filter_map(|item| Some((text(item, &list.name)?, item)));
        Ok(named.map(|(name, item)| observe(&self.settings.status, &name, item)).collect())
    }
}

fn configured<'a, T>(verb: &str, request: Option<&'a T>) -> Result<&'a T> {
    request.ok_or_else(|| {
        Error::unsupported(format!("{verb}: no request is configured; add settings.{verb}"))
    })
}

#[cfg(test)]
mod tests;
