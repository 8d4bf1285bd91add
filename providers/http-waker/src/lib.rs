//! The http-waker provider of drowse: whatever has an HTTP API that starts things. A target is a
//! name that the API knows; requests and answers are as the settings say.

#![forbid(unsafe_code)]

mod plane;
mod settings;
mod template;
mod turn;

use drowse_provider_sdk::{
    Ability, Description, Endpoint, EndpointWish, Error, Observation, Page, Provider, Result,
    Status, StopOptions, Target, poll,
};

use crate::{
    plane::{ENDPOINT, Plane, lacks_address, observe, refusal, text},
    settings::{Ask, List, Settings, TargetSettings},
};

/// Observations on a page of `list`.
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
                EndpointWish::new(ENDPOINT, "starts and stops targets and tells their state")
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

    /// Looks first: what runs already is not asked to start. Then waits until it runs and has an
    /// address, as nobody could be forwarded before.
    fn start(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let plane = self.plane(target)?;
        let seen = plane.look()?;
        self.wake(&plane, seen)
    }

    fn stop(&self, target: &Target<TargetSettings>, _: &StopOptions) -> Result<Observation> {
        self.end(target, "stop", Some(&self.settings.stop))
    }

    fn kill(&self, target: &Target<TargetSettings>, _: Option<&str>) -> Result<Observation> {
        self.end(target, "kill", self.settings.kill.as_ref())
    }

    fn pause(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let plane = self.plane(target)?;
        let pause = configured("pause", self.settings.pause.as_ref())?;
        let turn = plane.turn();
        let seen = plane.look()?;
        match seen.status {
            Status::Paused => return Ok(seen),
            Status::Running => plane.ask("pause", pause)?,
            _ => {
                let why = format!("it is {}; start it instead", seen.native_status);
                return Err(plane.told("pause", Error::conflict(why)));
            }
        }
        plane.wait("pause", &turn, |seen| Ok(seen.status == Status::Paused))
    }

    fn resume(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        let plane = self.plane(target)?;
        let seen = plane.look()?;
        match seen.status {
            Status::Running | Status::Paused => self.wake(&plane, seen),
            _ => {
                let why = format!("it is {}; start it instead", seen.native_status);
                Err(plane.told("resume", Error::conflict(why)))
            }
        }
    }

    fn status(&self, target: &Target<TargetSettings>) -> Result<Observation> {
        self.plane(target)?.look()
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
    fn plane<'a>(&'a self, target: &'a Target<TargetSettings>) -> Result<Plane<'a>> {
        Plane::of(&self.settings, target)
    }

    /// Makes it run that was seen like this.
    fn wake(&self, plane: &Plane<'_>, seen: Observation) -> Result<Observation> {
        let turn = plane.turn();
        match (&seen.status, &self.settings.resume) {
            (Status::Running, _) if !lacks_address(&seen) => return Ok(seen),
            (Status::Running | Status::Starting, _) => {}
            (Status::Paused, Some(resume)) => plane.ask("start", resume)?,
            _ => plane.ask("start", &self.settings.start)?,
        }
        plane.wait("start", &turn, |seen| match seen.status {
            Status::Running => Ok(!lacks_address(seen)),
            Status::Failed => Err(Error::unavailable(match &seen.detail {
                Some(detail) => format!("it is {}: {detail}", seen.native_status),
                None => format!("it is {}", seen.native_status),
            })),
            _ => Ok(false),
        })
    }

    fn end(
        &self,
        target: &Target<TargetSettings>,
        verb: &str,
        ask: Option<&Ask>,
    ) -> Result<Observation> {
        let plane = self.plane(target)?;
        let ask = configured(verb, ask)?;
        let turn = plane.turn();
        let seen = plane.look()?;
        let rests =
            |status: &Status| matches!(status, Status::Stopped | Status::Failed | Status::Missing);
        match &seen.status {
            status if rests(status) => return Ok(seen),
            Status::Stopping => {}
            _ => plane.ask(verb, ask)?,
        }
        plane.wait(verb, &turn, |seen| Ok(rests(&seen.status)))
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
        Error::unsupported(format!(
            "{verb}: the settings say no request for it; add settings.{verb}"
        ))
    })
}

#[cfg(test)]
mod tests;
