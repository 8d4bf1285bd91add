//! Making a container anew: what it is made of is found out, the old one is stopped and put aside
//! under another name, the new one takes its place, and only when that runs the old one is removed.
//!
//! Whatever fails after the stop is undone. What cannot be undone, because the engine is gone or the
//! router gave the call up, is told by names and by a label: the old container is called
//! `NAME.drowse-ran` or `NAME.drowse-old`, by whether it ran before, and the new one has the id of
//! the old one as its label [`RECREATED_FROM`]. The next call goes on from there.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{
    Error, ErrorCode, Observation, RecreateOptions, Result, Status, clock, encode, memo, warn,
};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Call, Engine, RECREATE_ENDPOINT},
    blueprint::{self, Blueprint},
    control::Container,
    image::Images,
    list,
    model::Created,
};

/// The new container's label with the id of the one it was made from.
pub(crate) const RECREATED_FROM: &str = "io.drowse.recreated-from";

/// What the old container is called after its name while it is put aside: it ran, or it did not.
pub(crate) const ASIDE: [(&str, bool); 2] = [(".drowse-ran", true), (".drowse-old", false)];

/// What the new container has to live through to count as running.
const SETTLE: Duration = Duration::from_secs(1);

/// How many lines of it are told if it does not.
const LAST_WORDS: u32 = 5;

/// A container that is being made anew.
pub(crate) struct Recreation<'a> {
    container: &'a Container<'a>,
    images: Images<'a>,
    options: &'a RecreateOptions,
    attempt: String,
}

/// What is made anew.
struct Old {
    whole: Value,
    id: String,
    /// The new one shall run.
    ran: bool,
}

/// Has the image here that a container would be made anew of.
pub(crate) fn fetch(container: &Container<'_>, images: Images<'_>) -> Result<()> {
    let attempt = container.attempt("fetch a newer image for");
    let (engine, handle) = (container.engine(), container.handle());
    let fetched = || {
        let whole = match engine.whole(handle)? {
            Some(whole) => Some(whole),
            None => find_aside(engine, handle)?.map(|old| old.whole),
        };
        whole.map(|whole| images.refresh(text(&whole["Config"]["Image"]))).transpose()
    };
    let fetched = fetched().map_err(|error: Error| error.context(&attempt))?;
    fetched.ok_or_else(|| container.not_found(&attempt))
}

// === impl Recreation ===

impl<'a> Recreation<'a> {
    pub(crate) fn new(
        container: &'a Container<'a>,
        images: Images<'a>,
        options: &'a RecreateOptions,
    ) -> Self {
        let attempt = container.attempt("recreate");
        Self { container, images, options, attempt }
    }

    fn engine(&self) -> &'a Engine {
        self.container.engine()
    }

    fn handle(&self) -> &'a str {
        self.container.handle()
    }

    pub(crate) fn run(&self) -> Result<Observation> {
        let current = self.engine().whole(self.handle()).map_err(|error| self.told(error))?;
        let aside = find_aside(self.engine(), self.handle()).map_err(|error| self.told(error))?;
        match (current, aside) {
            (None, None) => Err(self.container.not_found(&self.attempt)),
            (Some(current), None) => self.begin(&current),
            (None, Some(old)) => self.go_on(&old),
            (Some(current), Some(old)) => self.finish(&current, &old),
        }
    }

    /// Nothing is under way.
    fn begin(&self, current: &Value) -> Result<Observation> {
        let id = text(&current["Id"]).to_owned();
        let runs = matches!(text(&current["State"]["Status"]), "running" | "restarting");
        self.refuse_what_cannot_be(current, runs)?;
        // An earlier call may have come as far as the stop.
        let ran = runs || memo::text(&self.note()).is_some_and(|stopped| stopped == id);
        let old = Old { whole: current.clone(), id, ran };
        let blueprint = self.blueprint(&old)?;
        if ran {
            memo::set(&self.note(), &old.id);
        }
        let grace = self.options.stop.grace();
        let stopped = self.container.stop(self.options.stop.signal.as_deref(), grace);
        if let Err(error) = stopped {
            return Err(self.undone(&old, None, self.told(error)));
        }
        let suffix = ASIDE.iter().find(|(_, of)| *of == ran).map_or("", |(suffix, _)| *suffix);
        if let Err(error) = self.rename(&old.id, &format!("{}{suffix}", self.handle())) {
            return Err(self.undone(&old, None, error));
        }
        self.build(&old, &blueprint)
    }

    /// The old one is aside, and there is no new one.
    fn go_on(&self, old: &Old) -> Result<Observation> {
        match self.blueprint(old) {
            Ok(blueprint) => self.build(old, &blueprint),
            Err(error) => Err(self.undone(old, None, error)),
        }
    }

    /// The old one is aside, and its name is taken.
    fn finish(&self, current: &Value, old: &Old) -> Result<Observation> {
        if current["Config"]["Labels"][RECREATED_FROM] != old.id.as_str() {
            let aside = text(&old.whole["Name"]).trim_start_matches('/');
            return Err(Error::conflict(format!(
                "{}: an earlier recreation has left container {aside:?}, and what is there now was \
                 not made of it; remove the one or the other",
                self.attempt
            )));
        }
        if text(&current["State"]["Status"]) == "running" {
            self.remove_old(&old.id)?;
            return self.container.observe();
        }
        self.delete(text(&current["Id"]), true)?;
        self.go_on(old)
    }

    /// Everything that can be known before anything is touched.
    fn blueprint(&self, old: &Old) -> Result<Blueprint> {
        let engine = self.engine();
        let told = |error: Error| self.told(error);
        let name = text(&old.whole["Config"]["Image"]);
        if self.options.refresh {
            self.images.refresh(name).map_err(told)?;
        }
        if self.images.find(name).map_err(told)?.is_none() {
            let hint = if self.options.refresh { "pull it" } else { "recreate it with a refresh" };
            return Err(Error::invalid_request(format!(
                "{}: the engine has no image {name:?}; {hint}",
                self.attempt
            )));
        }
        let id = text(&old.whole["Image"]);
        let image = self.images.find(id).map_err(told)?.ok_or_else(|| {
            Error::invalid_request(format!(
                "{}: the image that it was made of, {id}, is gone, so nobody knows what of its \
                 settings came with the image; make the container anew by hand",
                self.attempt
            ))
        })?;
        let mut names = BTreeMap::new();
        for companion in blueprint::companions(&old.whole) {
            names.insert(companion.to_owned(), self.companion(companion)?);
        }
        let version = engine.version().map_err(told)?;
        let mut blueprint = blueprint::draw(&old.whole, &image, version, &names)
            .map_err(|why| Error::invalid_request(format!("{}: {why}", self.attempt)))?;
        if !blueprint.body["Labels"].is_object() {
            blueprint.body["Labels"] = json!({});
        }
        blueprint.body["Labels"][RECREATED_FROM] = json!(old.id);
        Ok(blueprint)
    }

    /// The name of a container whose network or namespaces this one shares.
    fn companion(&self, id: &str) -> Result<String> {
        let engine = self.engine();
        if let Some(found) = engine.inspect(id).map_err(|error| self.told(error))? {
            return Ok(found.name.trim_start_matches('/').to_owned());
        }
        let successor = list::labelled(engine, RECREATED_FROM, id);
        successor.map_err(|error| self.told(error))?.ok_or_else(|| {
            Error::invalid_request(format!(
                "{}: it shares the network or the namespaces of container {id}, which is gone; make \
                 it anew by hand",
                self.attempt
            ))
        })
    }

    /// The old one is stopped and aside.
    fn build(&self, old: &Old, blueprint: &Blueprint) -> Result<Observation> {
        let new = match self.create(blueprint) {
            Ok(new) => new,
            Err(error) => return Err(self.undone(old, None, error)),
        };
        let made = self.join(&new, blueprint).and_then(|()| self.wake(old, &new));
        let seen = match made {
            Ok(seen) => seen,
            Err(error) => return Err(self.undone(old, Some(&new), error)),
        };
        memo::delete(&self.note());
        let left = self.dependants(&old.id);
        self.remove_old(&old.id)?;
        if left.is_empty() {
            return Ok(seen);
        }
        let (name, left) = (self.handle(), left.join(", "));
        warn!(containers = left; "these are bound to what {name:?} was before: recreate them, too");
        Ok(seen.with_attribute("dependants", left))
    }

    fn create(&self, blueprint: &Blueprint) -> Result<String> {
        let call = Call::post("/containers/create").to(RECREATE_ENDPOINT);
        let answer = self.send(&call.query("name", self.handle()).body(blueprint.body.clone()))?;
        if !answer.is_done() {
            return Err(answer.refusal(&self.attempt));
        }
        let Created { id } = answer.response.json().map_err(|error| self.told(error))?;
        Ok(id)
    }

    fn join(&self, new: &str, blueprint: &Blueprint) -> Result<()> {
        for (network, settings) in &blueprint.join {
            let path = format!("/networks/{}/connect", encode(network));
            let body = json!({ "Container": new, "EndpointConfig": settings });
            let answer = self.send(&Call::post(&path).to(RECREATE_ENDPOINT).body(body))?;
            if !answer.is_done() {
                return Err(answer.refusal(&self.attempt));
            }
        }
        Ok(())
    }

    /// Starts the new one if the old one ran, and sees whether it lives.
    fn wake(&self, old: &Old, new: &str) -> Result<Observation> {
        if !old.ran {
            return self.container.observe();
        }
        self.container.start().map_err(|error| self.told(error))?;
        clock::sleep(SETTLE);
        let seen = self.container.observe()?;
        let is_new = seen.native_id.as_deref() == Some(new);
        // What has done its work has ended well.
        let lives = seen.status == Status::Running || seen.attribute("exit-status") == Some("0");
        if is_new && lives {
            return Ok(seen);
        }
        let detail = seen.detail.as_deref().unwrap_or(&seen.native_status);
        // It goes, and with it what it wrote.
        let written = self.container.logs(LAST_WORDS).unwrap_or_default();
        let written = match written.is_empty() {
            true => "it wrote nothing".to_owned(),
            false => format!("it wrote: {}", written.join(" / ")),
        };
        Err(Error::internal(format!(
            "{}: the new container does not run: {detail}; {written}; the old one is put back",
            self.attempt
        )))
    }

    /// Takes back what was done, and says what could not be taken back.
    fn undone(&self, old: &Old, new: Option<&str>, cause: Error) -> Error {
        let undo = || {
            if let Some(new) = new {
                self.delete(new, true)?;
            }
            let is_back = self.engine().inspect_exactly(self.handle())?;
            if is_back.is_none_or(|there| there.id != old.id) {
                self.rename(&old.id, self.handle())?;
            }
            if old.ran {
                self.container.start()?;
            }
            Ok(())
        };
        match undo() {
            Ok(()) => {
                memo::delete(&self.note());
                cause
            }
            Err(error) => {
                let error: Error = error;
                Error::new(
                    cause.code().clone(),
                    format!(
                        "{}; and what was there before could not be put back: {}; recreate it once \
                         more",
                        cause.message(),
                        error.message()
                    ),
                )
            }
        }
    }

    /// The volumes stay: the new one has them.
    fn remove_old(&self, id: &str) -> Result<()> {
        self.delete(id, false).map_err(|error| {
            error.context(format!("{}: the new one is made, and the old one is left", self.attempt))
        })
    }

    fn delete(&self, id: &str, with_volumes: bool) -> Result<()> {
        let path = format!("/containers/{}", encode(id));
        let mut call = Call::delete(&path).to(RECREATE_ENDPOINT).query("force", "1");
        if with_volumes {
            // Its own, which nobody has used; not those that it got from the old one.
            call = call.query("v", "1");
        }
        let answer = self.send(&call)?;
        match answer.status {
            404 => Ok(()),
            _ if answer.is_done() => Ok(()),
            _ => Err(answer.refusal(&self.attempt)),
        }
    }

    fn rename(&self, id: &str, name: &str) -> Result<()> {
        let path = format!("/containers/{}/rename", encode(id));
        let answer = self.send(&Call::post(&path).to(RECREATE_ENDPOINT).query("name", name))?;
        if answer.is_done() { Ok(()) } else { Err(answer.refusal(&self.attempt)) }
    }

    fn refuse_what_cannot_be(&self, current: &Value, runs: bool) -> Result<()> {
        let labels = &current["Config"]["Labels"];
        let why = if !labels["com.docker.swarm.task.id"].is_null() {
            "it is a task of a swarm, which makes its tasks itself; update the service"
        } else if current["HostConfig"]["AutoRemove"] == true && runs {
            "the engine removes it with its volumes as soon as it stops (`--rm`); make it without that"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorCode::Unsupported, format!("{}: {why}", self.attempt)))
    }

    /// Containers in the old one's network, which ends with it, or linked to it.
    fn dependants(&self, old: &str) -> Vec<String> {
        list::dependants(self.engine(), old).unwrap_or_else(|error| {
            let name = self.handle();
            warn!("nobody knows whether other containers need {name:?}: {error}");
            Vec::new()
        })
    }

    fn send(&self, call: &Call<'_>) -> Result<Answer> {
        self.engine().send(call).map_err(|error| self.told(error))
    }

    fn told(&self, error: Error) -> Error {
        error.context(&self.attempt)
    }

    /// Where the id of the one is kept that ran until it was stopped to be made anew.
    fn note(&self) -> String {
        format!("recreate {}", self.handle())
    }
}

/// The container that was put aside for one of this name.
fn find_aside(engine: &Engine, handle: &str) -> Result<Option<Old>> {
    for (suffix, ran) in ASIDE {
        if let Some(whole) = engine.whole(&format!("{handle}{suffix}"))? {
            let id = text(&whole["Id"]).to_owned();
            return Ok(Some(Old { whole, id, ran }));
        }
    }
    Ok(None)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
