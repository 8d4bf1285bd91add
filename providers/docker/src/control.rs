//! Starting, stopping and observing one container.
//!
//! Engines report "nothing to do" with different status codes (304, 409 or 500, by engine and
//! version). After an error response the container is therefore inspected, and its state decides.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Exit, Observation, Result, Status, Usage,
    clock::{self, Deadline, whole_seconds},
    encode,
};

use crate::{
    api::{Answer, Call, Engine},
    exec, logs, observe,
    settings::AddressRules,
    usage,
};

/// Time that the engine may take beyond the grace time to kill a container and clean up.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Timeout for a killed container to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for the engine to show a container as stopped or unpaused after it reported so.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout for a removal in progress when a container is started.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(15);

/// First pause between two inspections while a container stops; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two inspections.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// One container by its name.
pub(crate) struct Container<'a> {
    engine: &'a Engine,
    handle: &'a str,
    rules: AddressRules<'a>,
}

/// State of the container after an error response.
struct Refused {
    seen: Observation,
    why: Error,
}

// === impl Container ===

impl<'a> Container<'a> {
    /// Refuses a handle that is no container name: it could change the path of the request.
    pub(crate) fn new(
        engine: &'a Engine,
        handle: &'a str,
        rules: AddressRules<'a>,
    ) -> Result<Self> {
        let valid = handle.len() <= 255
            && handle.starts_with(|c: char| c.is_ascii_alphanumeric())
            && handle.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !valid {
            return Err(Error::invalid_request(format!(
                "target {handle:?}: not a container name: letters, digits, '_', '.' and '-', \
                 beginning with a letter or digit"
            )));
        }
        Ok(Self { engine, handle, rules })
    }

    pub(crate) fn engine(&self) -> &'a Engine {
        self.engine
    }

    pub(crate) fn handle(&self) -> &'a str {
        self.handle
    }

    /// Current state of the container.
    pub(crate) fn observe(&self) -> Result<Observation> {
        let observe = || match self.engine.inspect_exactly(self.handle)? {
            Some(found) => observe::inspected(self.engine, self.handle, &found, self.rules),
            None => Ok(Observation::missing(self.handle)),
        };
        observe().map_err(|error: Error| error.context(self.attempt("inspect")))
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        let attempt = self.attempt("start");
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let removal = Deadline::after(REMOVAL_TIMEOUT);
        let mut refusal = None;
        // Repeats only if another client changes the container in between.
        for _ in 0..3 {
            let answer = self.act(&reference, "start", &[], None, &attempt)?;
            let seen = self.observe()?;
            match seen.status {
                Status::Paused => {
                    let answer = self.act(&reference, "unpause", &[], None, &attempt)?;
                    let seen = self.observe_unpause(&answer)?;
                    match seen.status {
                        Status::Running => return Ok(seen),
                        Status::Paused => return Err(answer.to_error(&attempt)),
                        _ => {}
                    }
                }
                Status::Missing => return Err(self.not_found(&attempt)),
                Status::Running | Status::Starting => return Ok(seen),
                _ if answer.is_done() => return Ok(seen),
                // The container is being removed; another one may have its name afterwards.
                Status::Stopping if !answer.is_state_conflict() => {
                    let seen = self.poll_until_stopped(removal)?;
                    if seen.status == Status::Stopping {
                        return Err(Error::conflict(format!(
                            "{attempt}: still being removed after {} s",
                            REMOVAL_TIMEOUT.as_secs()
                        )));
                    }
                }
                // The response was for the previous container of this name.
                Status::Stopped if answer.is_container_removed() => {
                    refusal = Some(answer.to_error(&attempt));
                    clock::sleep(FIRST_PAUSE);
                }
                // Another client is stopping the container.
                _ if answer.is_state_conflict() => {
                    drop(self.poll_until_stopped(Deadline::after(STOP_MARGIN))?)
                }
                // 404 for an existing container: a network or an image that it needs is missing.
                _ if answer.status == 404 => {
                    let message = answer.to_error(&attempt).message().to_owned();
                    return Err(
                        Error::invalid_request(message).with_attribute("http-status", "404")
                    );
                }
                _ => return Err(answer.to_error(&attempt)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let message = "another client pauses, stops or removes it meanwhile";
            Error::conflict(format!("{attempt}: {message}"))
        }))
    }

    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let attempt = self.attempt("stop");
        let Some(reference) = self.reference()? else {
            return Ok(Observation::missing(self.handle));
        };
        if let Some(signal) = signal
            && !self.engine.version()?.stop_takes_signal()
        {
            return self.stop_by_kill(&reference, signal, grace, &attempt);
        }
        let deadline = Deadline::after(grace.saturating_add(STOP_MARGIN));
        let mut query = vec![("t", whole_seconds(grace).to_string())];
        if let Some(signal) = signal {
            query.push(("signal", signal.to_owned()));
            // The engine resumes a paused container only for the container's own stop signal; with
            // any other signal it would wait until the grace time is over.
            let seen = self.observe()?;
            if is_stopped(&seen) {
                return Ok(seen);
            }
            if seen.status == Status::Paused {
                self.act(&reference, "unpause", &[], None, &attempt)?;
            }
        }
        let wait = Some(grace.saturating_add(STOP_MARGIN));
        let seen = match self.act_unpaused(&reference, "stop", &query, wait, &attempt) {
            Ok(None) => self.observe_stop(deadline, &attempt)?,
            Ok(Some(refused)) => return refused.unless_stopped(),
            // The engine continues after the client disconnects; a grant may allow less time than
            // this.
            Err(error) if *error.code() == ErrorCode::Timeout => {
                self.poll_until_stopped(deadline)?
            }
            Err(error) => return Err(error),
        };
        if seen.status == Status::Paused {
            // Podman accepts the request and does not stop a paused container.
            self.act(&reference, "unpause", &[], None, &attempt)?;
            if let Some(refused) = self.act_unpaused(&reference, "stop", &query, wait, &attempt)? {
                return refused.unless_stopped();
            }
            let seen = self.observe_stop(Deadline::after(STOP_MARGIN), &attempt)?;
            return self.stopped(seen, &attempt);
        }
        self.stopped(seen, &attempt)
    }

    /// State after the engine reported the stop. A container that runs again soon after was started
    /// by another client: `conflict`.
    fn observe_stop(&self, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let seen = self.poll_until_stopped(Deadline::after(SETTLE_TIMEOUT))?;
        match seen.status {
            Status::Running | Status::Starting => Err(Error::conflict(format!(
                "{attempt}: the engine has stopped it and reports {:?} again: another client has \
                 started it",
                seen.native_status
            ))),
            Status::Paused => Ok(seen),
            _ if is_stopped(&seen) => Ok(seen),
            // The container may be being removed, for instance.
            _ => self.poll_until_stopped(deadline),
        }
    }

    /// Stops by signal, wait and kill where `stop` takes no signal.
    fn stop_by_kill(
        &self,
        reference: &str,
        signal: &str,
        grace: Duration,
        attempt: &str,
    ) -> Result<Observation> {
        let query = [("signal", signal.to_owned())];
        if let Some(refused) = self.act_unpaused(reference, "kill", &query, None, attempt)? {
            return refused.unless_stopped();
        }
        let mut seen = self.observe()?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if seen.status == Status::Paused {
            // A paused container receives the signal only when it is resumed. An error response
            // means that it already runs.
            self.act(reference, "unpause", &[], None, attempt)?;
        }
        seen = self.poll_until_stopped(Deadline::after(grace))?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if let Some(refused) =
            self.act_unpaused(reference, "kill", &[], Some(STOP_MARGIN), attempt)?
        {
            return refused.unless_stopped();
        }
        self.wait_until_stopped(Deadline::after(STOP_MARGIN), attempt)
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let attempt = match signal {
            Some(signal) => format!("{} with {signal}", self.attempt("kill")),
            None => self.attempt("kill"),
        };
        let Some(reference) = self.reference()? else {
            return Ok(Observation::missing(self.handle));
        };
        let query: Vec<_> =
            signal.map(|signal| ("signal", signal.to_owned())).into_iter().collect();
        if let Some(refused) = self.act_unpaused(&reference, "kill", &query, None, &attempt)? {
            return refused.unless_stopped();
        }
        let seen = self.observe()?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if seen.status == Status::Paused {
            self.act(&reference, "unpause", &[], None, &attempt)?;
        }
        self.wait_until_stopped(Deadline::after(KILL_TIMEOUT), &attempt)
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.set_paused("pause", Status::Paused)
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.set_paused("unpause", Status::Running)
    }

    /// Pauses or unpauses; succeeds if the container is in that state already.
    fn set_paused(&self, verb: &str, wanted: Status) -> Result<Observation> {
        let attempt = self.attempt(if verb == "pause" { "pause" } else { "resume" });
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let answer = self.act(&reference, verb, &[], None, &attempt)?;
        let seen = match wanted {
            Status::Running => self.observe_unpause(&answer)?,
            _ => self.observe()?,
        };
        if answer.is_done() || seen.status == wanted {
            return Ok(seen);
        }
        match seen.status {
            Status::Missing => Err(self.not_found(&attempt)),
            Status::Running | Status::Paused => Err(answer.to_error(&attempt)),
            _ => Err(Error::conflict(format!(
                "{attempt}: the container does not run (engine state {:?}); start it instead",
                seen.native_status
            ))),
        }
    }

    pub(crate) fn logs(&self, lines: u32) -> Result<Vec<String>> {
        let attempt = self.attempt("read the logs of");
        let found = self.engine.inspect_exactly(self.handle);
        let found = found.map_err(|error| error.context(&attempt))?;
        let Some(found) = found else { return Err(self.not_found(&attempt)) };
        logs::tail(self.engine, &found, lines, &attempt)
    }

    pub(crate) fn exec(&self, command: &[String]) -> Result<Exit> {
        let attempt = self.attempt("run a command in");
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let created = exec::create(self.engine, &reference, command);
        let created = created.map_err(|error| error.context(&attempt))?;
        if created.is_done() {
            return exec::run(self.engine, created, &attempt);
        }
        let seen = self.observe()?;
        match seen.status {
            Status::Missing => Err(self.not_found(&attempt)),
            Status::Running => Err(created.to_error(&attempt)),
            _ => Err(Error::conflict(format!(
                "{attempt}: the container does not run (engine state {:?}); start it first",
                seen.native_status
            ))),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let attempt = self.attempt("measure the usage of");
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let sample = usage::sample(self.engine, &reference);
        let sample = sample.map_err(|error| error.context(&attempt))?;
        let refusal = match sample.is_done() {
            false => Some(sample.to_error(&attempt)),
            true => match usage::measure(self.engine, &reference, sample, &attempt)? {
                Some(usage) => return Ok(usage),
                None => None,
            },
        };
        match (self.observe()?.status, refusal) {
            (Status::Missing, _) => Err(self.not_found(&attempt)),
            (Status::Stopped | Status::Failed, _) => Ok(Usage::nothing()),
            (_, Some(refusal)) => Err(refusal),
            // The container is paused, and the engine reports no usage.
            (_, None) => Ok(Usage::unknown()),
        }
    }

    /// A path segment that names this container and no other. None if it does not exist.
    ///
    /// The engine accepts a prefix of an id where it knows no container of that name, so a name
    /// that could be such a prefix is looked up first.
    fn reference(&self) -> Result<Option<String>> {
        if !self.handle.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            return Ok(Some(self.handle.to_owned()));
        }
        let found = self.engine.inspect_exactly(self.handle);
        let found = found.map_err(|error| error.context(self.attempt("look up")))?;
        Ok(found.map(|found| found.id))
    }

    fn act(
        &self,
        reference: &str,
        verb: &str,
        query: &[(&'static str, String)],
        timeout: Option<Duration>,
        attempt: &str,
    ) -> Result<Answer> {
        let path = format!("/containers/{}/{verb}", encode(reference));
        let mut call = Call::post(&path);
        for (name, value) in query {
            call = call.query(name, value);
        }
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        self.engine.send(&call).map_err(|error| error.context(attempt))
    }

    /// Sends an action; None if it succeeded. Some engines stop and kill paused containers, others
    /// only running ones: after an error response a paused container is resumed and the action
    /// repeated.
    fn act_unpaused(
        &self,
        reference: &str,
        verb: &str,
        query: &[(&'static str, String)],
        timeout: Option<Duration>,
        attempt: &str,
    ) -> Result<Option<Refused>> {
        let mut awake = false;
        loop {
            let answer = self.act(reference, verb, query, timeout, attempt)?;
            if answer.is_done() {
                return Ok(None);
            }
            let seen = self.observe()?;
            if awake || seen.status != Status::Paused {
                return Ok(Some(Refused { seen, why: answer.to_error(attempt) }));
            }
            self.act(reference, "unpause", &[], None, attempt)?;
            awake = true;
        }
    }

    fn wait_until_stopped(&self, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let seen = self.poll_until_stopped(deadline)?;
        self.stopped(seen, attempt)
    }

    fn stopped(&self, seen: Observation, attempt: &str) -> Result<Observation> {
        if is_stopped(&seen) {
            return Ok(seen);
        }
        Err(Error::timeout(format!(
            "{attempt}: the engine accepted the request, but still reports {:?}",
            seen.native_status
        )))
    }

    /// Inspects until the container does not run, is paused, or the deadline passes; at least once.
    fn poll_until_stopped(&self, deadline: Deadline) -> Result<Observation> {
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = self.observe()?;
            match deadline.left() {
                Some(left) if !is_stopped(&seen) && seen.status != Status::Paused => {
                    clock::sleep(pause.min(left));
                }
                _ => return Ok(seen),
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// State after an unpause. The engine may process an earlier pause event of its runtime late
    /// and report an unpaused container as paused again.
    fn observe_unpause(&self, answer: &Answer) -> Result<Observation> {
        let deadline = Deadline::after(SETTLE_TIMEOUT);
        loop {
            let seen = self.observe()?;
            match deadline.left() {
                Some(left) if answer.is_done() && seen.status == Status::Paused => {
                    clock::sleep(FIRST_PAUSE.min(left));
                }
                _ => return Ok(seen),
            }
        }
    }

    pub(crate) fn attempt(&self, verb: &str) -> String {
        format!("{verb} container {:?}", self.handle)
    }

    pub(crate) fn not_found(&self, attempt: &str) -> Error {
        Error::not_found(format!("{attempt}: the engine has no container of this name"))
    }
}

// === impl Refused ===

impl Refused {
    /// Succeeds if the container does not run after all.
    fn unless_stopped(self) -> Result<Observation> {
        if is_stopped(&self.seen) { Ok(self.seen) } else { Err(self.why) }
    }
}

fn is_stopped(seen: &Observation) -> bool {
    matches!(seen.status, Status::Stopped | Status::Failed | Status::Missing)
}
