//! Starting, stopping and looking at one container.
//!
//! Engines differ in the codes by which they say that there was nothing to do (304, 409 or 500, by
//! engine and version). So after a refusal the container is looked at, and its state decides.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Exit, Observation, Result, Status, Usage, clock, clock::Deadline, encode,
};

use crate::{
    api::{Answer, Call, Engine},
    exec, logs, observe,
    settings::Reach,
    usage,
};

/// What the engine may take over the grace time to kill a container and clean up.
const MARGIN: Duration = Duration::from_secs(15);

/// How long a killed container may take to end.
const KILL_TIME: Duration = Duration::from_secs(10);

/// How long an engine may take until it shows that a container has stopped, or has been unpaused,
/// that it says has.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the engine may take over a removal that is in progress when a container is started.
const REMOVAL: Duration = Duration::from_secs(15);

/// Between the first two looks at a container that is to stop; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between two looks.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// One container by its name.
pub(crate) struct Container<'a> {
    engine: &'a Engine,
    handle: &'a str,
    reach: Reach<'a>,
}

/// What a refusal left.
struct Refused {
    seen: Observation,
    why: Error,
}

// === impl Container ===

impl<'a> Container<'a> {
    /// Refuses what cannot be a container's name: it would ask the engine something else.
    pub(crate) fn new(engine: &'a Engine, handle: &'a str, reach: Reach<'a>) -> Result<Self> {
        let valid = handle.len() <= 255
            && handle.starts_with(|c: char| c.is_ascii_alphanumeric())
            && handle.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !valid {
            return Err(Error::invalid_request(format!(
                "target {handle:?}: not the name of a container: letters, digits, '_', '.' and \
                 '-', beginning with a letter or digit"
            )));
        }
        Ok(Self { engine, handle, reach })
    }

    pub(crate) fn engine(&self) -> &'a Engine {
        self.engine
    }

    pub(crate) fn handle(&self) -> &'a str {
        self.handle
    }

    /// What it is now.
    pub(crate) fn observe(&self) -> Result<Observation> {
        let look = || match self.engine.inspect_exactly(self.handle)? {
            Some(found) => observe::inspected(self.engine, self.handle, &found, self.reach),
            None => Ok(Observation::missing(self.handle)),
        };
        look().map_err(|error: Error| error.context(self.attempt("look at")))
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        let attempt = self.attempt("start");
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let removal = Deadline::after(REMOVAL);
        let mut refusal = None;
        // More than once only if the container changes under our hands.
        for _ in 0..3 {
            let answer = self.act(&reference, "start", &[], None, &attempt)?;
            let seen = self.observe()?;
            match seen.status {
                Status::Paused => {
                    let answer = self.act(&reference, "unpause", &[], None, &attempt)?;
                    let seen = self.look_after_unpause(&answer)?;
                    match seen.status {
                        Status::Running => return Ok(seen),
                        Status::Paused => return Err(answer.refusal(&attempt)),
                        _ => {}
                    }
                }
                Status::Missing => return Err(self.not_found(&attempt)),
                Status::Running | Status::Starting => return Ok(seen),
                _ if answer.is_done() => return Ok(seen),
                // It is being removed, and another container may have its name afterwards.
                Status::Stopping if !answer.is_overtaken() => {
                    let seen = self.look_until_stopped(removal)?;
                    if seen.status == Status::Stopping {
                        return Err(Error::conflict(format!(
                            "{attempt}: it is being removed, and still is after {} s",
                            REMOVAL.as_secs()
                        )));
                    }
                }
                // The answer was about the container that had the name before this one.
                Status::Stopped if answer.is_of_removed() => {
                    refusal = Some(answer.refusal(&attempt));
                    clock::sleep(FIRST_PAUSE);
                }
                // Somebody else is stopping it.
                _ if answer.is_overtaken() => {
                    drop(self.look_until_stopped(Deadline::after(MARGIN))?)
                }
                // 404 for a container that is there: a network or an image it needs is not.
                _ if answer.status == 404 => {
                    let message = answer.refusal(&attempt).message().to_owned();
                    return Err(
                        Error::invalid_request(message).with_attribute("http-status", "404")
                    );
                }
                _ => return Err(answer.refusal(&attempt)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let message = "somebody else pauses, stops or removes it meanwhile";
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
        let deadline = Deadline::after(grace.saturating_add(MARGIN));
        let mut query = vec![("t", whole_seconds(grace).to_string())];
        if let Some(signal) = signal {
            query.push(("signal", signal.to_owned()));
            // The engine itself lets a paused container go on only for the container's own stop
            // signal; any other would wait until the grace time is over.
            let seen = self.observe()?;
            if is_stopped(&seen) {
                return Ok(seen);
            }
            if seen.status == Status::Paused {
                self.act(&reference, "unpause", &[], None, &attempt)?;
            }
        }
        let wait = Some(grace.saturating_add(MARGIN));
        let seen = match self.act_awake(&reference, "stop", &query, wait, &attempt) {
            Ok(None) => self.look_after_stop(deadline, &attempt)?,
            Ok(Some(refused)) => return refused.unless_stopped(),
            // The engine goes on after a client has gone; a grant may allow less time than this.
            Err(error) if *error.code() == ErrorCode::Timeout => {
                self.look_until_stopped(deadline)?
            }
            Err(error) => return Err(error),
        };
        if seen.status == Status::Paused {
            // Podman takes the request and leaves what is paused alone.
            self.act(&reference, "unpause", &[], None, &attempt)?;
            if let Some(refused) = self.act_awake(&reference, "stop", &query, wait, &attempt)? {
                return refused.unless_stopped();
            }
            let seen = self.look_after_stop(Deadline::after(MARGIN), &attempt)?;
            return self.stopped(seen, &attempt);
        }
        self.stopped(seen, &attempt)
    }

    /// What it is when the engine says that it has stopped. One that runs soon after does so because
    /// somebody else has started it: `conflict`.
    fn look_after_stop(&self, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let seen = self.look_until_stopped(Deadline::after(SETTLE))?;
        match seen.status {
            Status::Running | Status::Starting => Err(Error::conflict(format!(
                "{attempt}: the engine has stopped it, and calls it {:?} again: somebody else has \
                 started it",
                seen.native_status
            ))),
            Status::Paused => Ok(seen),
            _ if is_stopped(&seen) => Ok(seen),
            // It is being removed, for instance.
            _ => self.look_until_stopped(deadline),
        }
    }

    /// Where `stop` takes no signal: signal, wait, kill.
    fn stop_by_kill(
        &self,
        reference: &str,
        signal: &str,
        grace: Duration,
        attempt: &str,
    ) -> Result<Observation> {
        let query = [("signal", signal.to_owned())];
        if let Some(refused) = self.act_awake(reference, "kill", &query, None, attempt)? {
            return refused.unless_stopped();
        }
        let mut seen = self.observe()?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if seen.status == Status::Paused {
            // It hears the signal only when it goes on. A refusal means that it does already.
            self.act(reference, "unpause", &[], None, attempt)?;
        }
        seen = self.look_until_stopped(Deadline::after(grace))?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if let Some(refused) = self.act_awake(reference, "kill", &[], Some(MARGIN), attempt)? {
            return refused.unless_stopped();
        }
        self.until_stopped(Deadline::after(MARGIN), attempt)
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
        if let Some(refused) = self.act_awake(&reference, "kill", &query, None, &attempt)? {
            return refused.unless_stopped();
        }
        let seen = self.observe()?;
        if is_stopped(&seen) {
            return Ok(seen);
        }
        if seen.status == Status::Paused {
            self.act(&reference, "unpause", &[], None, &attempt)?;
        }
        self.until_stopped(Deadline::after(KILL_TIME), &attempt)
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.freeze("pause", Status::Paused)
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.freeze("unpause", Status::Running)
    }

    /// Pauses or unpauses; success when it is so already.
    fn freeze(&self, verb: &str, wanted: Status) -> Result<Observation> {
        let attempt = self.attempt(if verb == "pause" { "pause" } else { "resume" });
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let answer = self.act(&reference, verb, &[], None, &attempt)?;
        let seen = match wanted {
            Status::Running => self.look_after_unpause(&answer)?,
            _ => self.observe()?,
        };
        if answer.is_done() || seen.status == wanted {
            return Ok(seen);
        }
        match seen.status {
            Status::Missing => Err(self.not_found(&attempt)),
            Status::Running | Status::Paused => Err(answer.refusal(&attempt)),
            _ => Err(Error::conflict(format!(
                "{attempt}: it does not run, the engine calls it {:?}; start it instead",
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
            Status::Running => Err(created.refusal(&attempt)),
            _ => Err(Error::conflict(format!(
                "{attempt}: it does not run, the engine calls it {:?}; start it first",
                seen.native_status
            ))),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let attempt = self.attempt("tell the usage of");
        let Some(reference) = self.reference()? else { return Err(self.not_found(&attempt)) };
        let sample = usage::sample(self.engine, &reference);
        let sample = sample.map_err(|error| error.context(&attempt))?;
        let refusal = match sample.is_done() {
            false => Some(sample.refusal(&attempt)),
            true => match usage::measure(self.engine, &reference, sample, &attempt)? {
                Some(usage) => return Ok(usage),
                None => None,
            },
        };
        match (self.observe()?.status, refusal) {
            (Status::Missing, _) => Err(self.not_found(&attempt)),
            (Status::Stopped | Status::Failed, _) => Ok(Usage::nothing()),
            (_, Some(refusal)) => Err(refusal),
            // It is paused, and the engine tells nothing of it.
            (_, None) => Ok(Usage::unknown()),
        }
    }

    /// What names this container, and no other, in a path. None if there is no such container.
    ///
    /// The engine takes any beginning of an id for a container whose name it does not know: a name
    /// that could be one is looked up first.
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

    /// None when it is done. Some engines stop and kill what is paused, others only what runs: after
    /// a refusal a paused container goes on and is asked again.
    fn act_awake(
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
                return Ok(Some(Refused { seen, why: answer.refusal(attempt) }));
            }
            self.act(reference, "unpause", &[], None, attempt)?;
            awake = true;
        }
    }

    fn until_stopped(&self, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let seen = self.look_until_stopped(deadline)?;
        self.stopped(seen, attempt)
    }

    fn stopped(&self, seen: Observation, attempt: &str) -> Result<Observation> {
        if is_stopped(&seen) {
            return Ok(seen);
        }
        Err(Error::timeout(format!(
            "{attempt}: the engine took the request, and still calls it {:?}",
            seen.native_status
        )))
    }

    /// Looks until it does not run, is found paused, or the time is over; at least once.
    fn look_until_stopped(&self, deadline: Deadline) -> Result<Observation> {
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

    /// What an unpause left. The engine hears of an earlier pause from its runtime a moment late, and
    /// can call a container paused again that it has just unpaused.
    fn look_after_unpause(&self, answer: &Answer) -> Result<Observation> {
        let deadline = Deadline::after(SETTLE);
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
    /// Success if it does not run after all.
    fn unless_stopped(self) -> Result<Observation> {
        if is_stopped(&self.seen) { Ok(self.seen) } else { Err(self.why) }
    }
}

fn is_stopped(seen: &Observation) -> bool {
    matches!(seen.status, Status::Stopped | Status::Failed | Status::Missing)
}

/// The engine counts in seconds: never less than was asked for.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
