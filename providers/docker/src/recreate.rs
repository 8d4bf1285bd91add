//! Recreates a container: derive the create request, stop the old container, set it aside under
//! another name, create the new one, and remove the old one only when the new one runs.
//!
//! A failure after the stop is rolled back. If the rollback is impossible, because the engine is
//! unreachable or the call was cancelled, names and a label keep the state: the old container is
//! named `NAME.drowse-ran` or `NAME.drowse-old`, by whether it ran before, and the new one has the
//! old one's id in its label [`RECREATED_FROM`]. The next call continues from there.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{
    Error, ErrorCode, Observation, RecreateOptions, Result, Status, clock, encode, memo, warn,
};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Call, Engine, RECREATE_ENDPOINT},
    control::Container,
    create_request::{self, CreateRequest},
    image::Images,
    list,
    model::Created,
};

/// Label of the new container with the id of the old one.
pub(crate) const RECREATED_FROM: &str = "io.drowse.recreated-from";

/// Name suffix of the old container while it is set aside, and whether it ran.
pub(crate) const OLD_SUFFIXES: [(&str, bool); 2] = [(".drowse-ran", true), (".drowse-old", false)];

/// Time for which the new container must run to count as running.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Number of log lines in the error if it does not.
const LOG_LINES: u32 = 5;

/// A recreation of one container.
pub(crate) struct Recreation<'a> {
    container: &'a Container<'a>,
    images: Images<'a>,
    options: &'a RecreateOptions,
    attempt: String,
}

/// The old container.
struct Old {
    inspected: Value,
    id: String,
    /// It ran, so the new one is started.
    ran: bool,
}

/// Pulls the image that a recreation would use.
pub(crate) fn fetch(container: &Container<'_>, images: Images<'_>) -> Result<()> {
    let attempt = container.attempt("fetch a newer image for");
    let (engine, handle) = (container.engine(), container.handle());
    let fetched = || {
        let inspected = match engine.inspect_raw(handle)? {
            Some(inspected) => Some(inspected),
            None => find_old(engine, handle)?.map(|old| old.inspected),
        };
        inspected.map(|inspected| images.refresh(text(&inspected["Config"]["Image"]))).transpose()
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
        let current =
            self.engine().inspect_raw(self.handle()).map_err(|error| self.with_context(error))?;
        let aside =
            find_old(self.engine(), self.handle()).map_err(|error| self.with_context(error))?;
        match (current, aside) {
            (None, None) => Err(self.container.not_found(&self.attempt)),
            (Some(current), None) => self.start_recreation(&current),
            (None, Some(old)) => self.resume(&old),
            (Some(current), Some(old)) => self.finish(&current, &old),
        }
    }

    /// No earlier recreation is unfinished.
    fn start_recreation(&self, current: &Value) -> Result<Observation> {
        let id = text(&current["Id"]).to_owned();
        let runs = matches!(text(&current["State"]["Status"]), "running" | "restarting");
        self.check_supported(current, runs)?;
        // An earlier call may have failed after the stop.
        let ran = runs || memo::text(&self.cache_key()).is_some_and(|stopped| stopped == id);
        let old = Old { inspected: current.clone(), id, ran };
        let plan = self.plan(&old)?;
        if ran {
            memo::set(&self.cache_key(), &old.id);
        }
        let grace = self.options.stop.grace();
        let stopped = self.container.stop(self.options.stop.signal.as_deref(), grace);
        if let Err(error) = stopped {
            return Err(self.roll_back(&old, None, self.with_context(error)));
        }
        let suffix =
            OLD_SUFFIXES.iter().find(|(_, of)| *of == ran).map_or("", |(suffix, _)| *suffix);
        if let Err(error) = self.rename(&old.id, &format!("{}{suffix}", self.handle())) {
            return Err(self.roll_back(&old, None, error));
        }
        self.build(&old, &plan)
    }

    /// The old container is set aside, and there is no new one.
    fn resume(&self, old: &Old) -> Result<Observation> {
        match self.plan(old) {
            Ok(plan) => self.build(old, &plan),
            Err(error) => Err(self.roll_back(old, None, error)),
        }
    }

    /// The old container is set aside, and its name is taken.
    fn finish(&self, current: &Value, old: &Old) -> Result<Observation> {
        if current["Config"]["Labels"][RECREATED_FROM] != old.id.as_str() {
            let aside = text(&old.inspected["Name"]).trim_start_matches('/');
            return Err(Error::conflict(format!(
                "{}: an earlier recreation has left container {aside:?}, and the current one was \
                 not created from it; remove one of them",
                self.attempt
            )));
        }
        if text(&current["State"]["Status"]) == "running" {
            self.remove_old(&old.id)?;
            return self.container.observe();
        }
        self.delete(text(&current["Id"]), true)?;
        self.resume(old)
    }

    /// Checks everything that can be checked before the first change.
    fn plan(&self, old: &Old) -> Result<CreateRequest> {
        let engine = self.engine();
        let with_context = |error: Error| self.with_context(error);
        let name = text(&old.inspected["Config"]["Image"]);
        if self.options.refresh {
            self.images.refresh(name).map_err(with_context)?;
        }
        if self.images.find(name).map_err(with_context)?.is_none() {
            let hint = if self.options.refresh { "pull it" } else { "recreate it with a refresh" };
            return Err(Error::invalid_request(format!(
                "{}: the engine has no image {name:?}; {hint}",
                self.attempt
            )));
        }
        let id = text(&old.inspected["Image"]);
        let image = self.images.find(id).map_err(with_context)?.ok_or_else(|| {
            Error::invalid_request(format!(
                "{}: its image {id} is gone, so the settings that came with the image are \
                 unknown; recreate the container manually",
                self.attempt
            ))
        })?;
        let mut names = BTreeMap::new();
        for namespace_owner in create_request::namespace_owners(&old.inspected) {
            names.insert(namespace_owner.to_owned(), self.namespace_owner(namespace_owner)?);
        }
        let version = engine.version().map_err(with_context)?;
        let mut plan = create_request::derive(&old.inspected, &image, version, &names)
            .map_err(|why| Error::invalid_request(format!("{}: {why}", self.attempt)))?;
        if !plan.body["Labels"].is_object() {
            plan.body["Labels"] = json!({});
        }
        plan.body["Labels"][RECREATED_FROM] = json!(old.id);
        Ok(plan)
    }

    /// Name of a container whose network or namespaces this one shares.
    fn namespace_owner(&self, id: &str) -> Result<String> {
        let engine = self.engine();
        if let Some(found) = engine.inspect(id).map_err(|error| self.with_context(error))? {
            return Ok(found.name.trim_start_matches('/').to_owned());
        }
        let successor = list::labelled(engine, RECREATED_FROM, id);
        successor.map_err(|error| self.with_context(error))?.ok_or_else(|| {
            Error::invalid_request(format!(
                "{}: it shares the network or the namespaces of container {id}, which is gone; \
                 recreate it manually",
                self.attempt
            ))
        })
    }

    /// The old container is stopped and set aside: create the new one.
    fn build(&self, old: &Old, plan: &CreateRequest) -> Result<Observation> {
        let new = match self.create(plan) {
            Ok(new) => new,
            Err(error) => return Err(self.roll_back(old, None, error)),
        };
        let made = self.join(&new, plan).and_then(|()| self.start_new(old, &new));
        let seen = match made {
            Ok(seen) => seen,
            Err(error) => return Err(self.roll_back(old, Some(&new), error)),
        };
        memo::delete(&self.cache_key());
        let left = self.dependants(&old.id);
        self.remove_old(&old.id)?;
        if left.is_empty() {
            return Ok(seen);
        }
        let (name, left) = (self.handle(), left.join(", "));
        warn!(containers = left; "these containers depend on the old {name:?}: recreate them, too");
        Ok(seen.with_attribute("dependants", left))
    }

    fn create(&self, plan: &CreateRequest) -> Result<String> {
        let call = Call::post("/containers/create").to(RECREATE_ENDPOINT);
        let answer = self.send(&call.query("name", self.handle()).body(plan.body.clone()))?;
        if !answer.is_done() {
            return Err(answer.to_error(&self.attempt));
        }
        let Created { id } = answer.response.json().map_err(|error| self.with_context(error))?;
        Ok(id)
    }

    fn join(&self, new: &str, plan: &CreateRequest) -> Result<()> {
        for (network, settings) in &plan.join {
            let path = format!("/networks/{}/connect", encode(network));
            let body = json!({ "Container": new, "EndpointConfig": settings });
            let answer = self.send(&Call::post(&path).to(RECREATE_ENDPOINT).body(body))?;
            if !answer.is_done() {
                return Err(answer.to_error(&self.attempt));
            }
        }
        Ok(())
    }

    /// Starts the new container if the old one ran, and checks that it stays up.
    fn start_new(&self, old: &Old, new: &str) -> Result<Observation> {
        if !old.ran {
            return self.container.observe();
        }
        self.container.start().map_err(|error| self.with_context(error))?;
        clock::sleep(SETTLE_TIME);
        let seen = self.container.observe()?;
        let is_new = seen.native_id.as_deref() == Some(new);
        // A container that finished its work exits with 0.
        let is_up = seen.status == Status::Running || seen.attribute("exit-status") == Some("0");
        if is_new && is_up {
            return Ok(seen);
        }
        let detail = seen.detail.as_deref().unwrap_or(&seen.native_status);
        // The container is about to be removed together with its logs.
        let written = self.container.logs(LOG_LINES).unwrap_or_default();
        let written = match written.is_empty() {
            true => "no output".to_owned(),
            false => format!("output: {}", written.join(" / ")),
        };
        Err(Error::internal(format!(
            "{}: the new container does not run: {detail}; {written}; the old one is restored",
            self.attempt
        )))
    }

    /// Rolls back, and adds to the error what could not be rolled back.
    fn roll_back(&self, old: &Old, new: Option<&str>, cause: Error) -> Error {
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
                memo::delete(&self.cache_key());
                cause
            }
            Err(error) => {
                let error: Error = error;
                Error::new(
                    cause.code().clone(),
                    format!(
                        "{}; and the old container could not be restored: {}; recreate it once more",
                        cause.message(),
                        error.message()
                    ),
                )
            }
        }
    }

    /// Keeps the volumes: the new container has them.
    fn remove_old(&self, id: &str) -> Result<()> {
        self.delete(id, false).map_err(|error| {
            error.context(format!(
                "{}: the new container is created, and the old one is left",
                self.attempt
            ))
        })
    }

    fn delete(&self, id: &str, with_volumes: bool) -> Result<()> {
        let path = format!("/containers/{}", encode(id));
        let mut call = Call::delete(&path).to(RECREATE_ENDPOINT).query("force", "1");
        if with_volumes {
            // Volumes of the new container alone; not those of the old one.
            call = call.query("v", "1");
        }
        let answer = self.send(&call)?;
        match answer.status {
            404 => Ok(()),
            _ if answer.is_done() => Ok(()),
            _ => Err(answer.to_error(&self.attempt)),
        }
    }

    fn rename(&self, id: &str, name: &str) -> Result<()> {
        let path = format!("/containers/{}/rename", encode(id));
        let answer = self.send(&Call::post(&path).to(RECREATE_ENDPOINT).query("name", name))?;
        if answer.is_done() { Ok(()) } else { Err(answer.to_error(&self.attempt)) }
    }

    fn check_supported(&self, current: &Value, runs: bool) -> Result<()> {
        let labels = &current["Config"]["Labels"];
        let why = if !labels["com.docker.swarm.task.id"].is_null() {
            "it is a task of a swarm, which creates its tasks itself; update the service"
        } else if current["HostConfig"]["AutoRemove"] == true && runs {
            "the engine removes it with its volumes as soon as it stops (`--rm`); create it without --rm"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorCode::Unsupported, format!("{}: {why}", self.attempt)))
    }

    /// Containers that share the old one's network or link to it.
    fn dependants(&self, old: &str) -> Vec<String> {
        list::dependants(self.engine(), old).unwrap_or_else(|error| {
            let name = self.handle();
            warn!("cannot find containers that depend on {name:?}: {error}");
            Vec::new()
        })
    }

    fn send(&self, call: &Call<'_>) -> Result<Answer> {
        self.engine().send(call).map_err(|error| self.with_context(error))
    }

    fn with_context(&self, error: Error) -> Error {
        error.context(&self.attempt)
    }

    /// Cache key of the id of the container that ran until it was stopped for the recreation.
    fn cache_key(&self) -> String {
        format!("recreate {}", self.handle())
    }
}

/// The container that was set aside for one of this name.
fn find_old(engine: &Engine, handle: &str) -> Result<Option<Old>> {
    for (suffix, ran) in OLD_SUFFIXES {
        if let Some(inspected) = engine.inspect_raw(&format!("{handle}{suffix}"))? {
            let id = text(&inspected["Id"]).to_owned();
            return Ok(Some(Old { inspected, id, ran }));
        }
    }
    Ok(None)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
