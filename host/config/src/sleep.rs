//! How a workload is put to sleep, and what keeps it awake.

use std::ops::RangeInclusive;

use drowse_core::{DeepSleep, ReadyCheck, SleepMethod, SleepPlan, Veto};

use crate::{
    read::{Field, Reader},
    ready::is_path,
    schema::table,
    signal,
    source::Span,
    values::{
        CommandInside, DeepMethod, DurationText, Flag, Method, Percent, Port, Statuses, Text,
    },
};

table! {
    /// How a workload is put to sleep.
    pub(crate) struct SleepTable("[workload.NAME.sleep]") {
        /// `stop` asks the workload to end and kills it after the grace time, `pause` keeps it in memory,
        /// `kill` ends it at once.
        method: Method = "\"stop\"";
    } shared { end: EndTable }
}

table! {
    /// A second, deeper sleep: `sleep.method = "pause"` with `deep-sleep = { after = "2h" }` wakes in
    /// milliseconds for two hours, and then frees the workload's memory. A visitor wakes it from either.
    pub(crate) struct DeepSleepTable("[workload.NAME.deep-sleep]") {
        /// Time in the light sleep before the deep one.
        after: DurationText, required;
        /// `stop` asks the workload to end and kills it after the grace time, `kill` ends it at once.
        method: DeepMethod = "\"stop\"";
    } shared { end: EndTable }
}

table! {
    /// The keys that both sleeps share.
    pub(crate) struct EndTable("") {
        /// The signal for `stop` and `kill`, such as `SIGTERM`.
        signal: Text, otherwise "the platform's default";
        /// Time for the workload to end by itself, for `stop`. A program of this machine that the router
        /// runs also has it, five minutes at most, when the router ends.
        grace: DurationText = "\"10s\"";
    }
}

table! {
    /// Conditions that keep a workload awake without visitors. They are checked when the idle time is
    /// over; if one of them holds, the workload stays awake and they are checked again after a minute, or
    /// after the idle time if that is shorter.
    pub(crate) struct KeepAwakeTable("[workload.NAME.keep-awake-if]") {
        /// The provider reports a higher CPU usage than this percentage of one core.
        cpu_above: Percent, otherwise "not checked";
        /// Path of a request that is answered with one of `status` while the workload is busy.
        http: Text, otherwise "not checked";
        /// Statuses that mean that the workload is busy. For `http`.
        status: Statuses = "200";
        /// A command, run inside the workload by its provider, that ends with exit status 0 while the
        /// workload is busy.
        exec: CommandInside, otherwise "not checked";
        /// Players are online. For a Minecraft server.
        players: Flag, otherwise "not checked";
        /// The workload's own port to query. For `http` and `players`.
        port: Port, otherwise "the port of the first route to the workload";
    }
}

/// Conditions that keep a workload awake, before their port is known.
pub(crate) struct KeepAwake {
    vetoes: Vec<Veto>,
    http: Option<(String, RangeInclusive<u16>)>,
    players: bool,
    pub(crate) port: Option<u16>,
    pub(crate) span: Span,
}

// === impl SleepTable ===

impl SleepTable {
    pub(crate) fn settings(self, r: &mut Reader) -> Option<SleepPlan> {
        self.end.plan(r, self.method)
    }
}

// === impl DeepSleepTable ===

impl DeepSleepTable {
    /// The settings beside this light sleep.
    pub(crate) fn settings(self, r: &mut Reader, light: Option<&SleepPlan>) -> Option<DeepSleep> {
        let plan = self.end.plan(r, self.method)?;
        if light.is_some_and(|light| light.method != SleepMethod::Pause) {
            let message = "there is no deeper sleep than `stop` and `kill`; set `sleep.method = \
                           \"pause\"`, or take `deep-sleep` out";
            r.report(self.heading.span, message);
            return None;
        }
        Some(DeepSleep { after: self.after.value?, plan })
    }
}

// === impl EndTable ===

impl EndTable {
    fn plan(self, r: &mut Reader, method: Field<SleepMethod>) -> Option<SleepPlan> {
        let Self { signal, grace, .. } = self;
        let method = method.value?;
        if method == SleepMethod::Pause && signal.mark.written {
            r.report(signal.mark.span, "pausing sends no signal; take `signal` out");
        }
        if grace.mark.written && method != SleepMethod::Stop {
            let message =
                "only `stop` has a grace time; take `grace` out, or set `method = \"stop\"`";
            r.report(grace.mark.span, message);
        }
        let name = signal.value?;
        if let Some(flaw) = name.as_deref().and_then(signal::flaw) {
            r.report(signal.mark.span, flaw);
            return None;
        }
        Some(SleepPlan { method, signal: name, grace: grace.value? })
    }
}

// === impl KeepAwakeTable ===

impl KeepAwakeTable {
    pub(crate) fn settings(self, r: &mut Reader) -> Option<KeepAwake> {
        let http = self.http.value?;
        if let Some(path) = &http
            && !is_path(r, self.http.mark.span, path)
        {
            return None;
        }
        if http.is_none() && self.status.mark.written {
            r.report(self.status.mark.span, "`status` has no meaning without `http`");
        }
        let players = self.players.value;
        if self.port.mark.written && http.is_none() && players != Some(Some(true)) {
            let message = "`port` has no meaning without `http` or `players`";
            r.report(self.port.mark.span, message);
        }
        let mut vetoes = Vec::new();
        vetoes.extend(self.cpu_above.value?.map(Veto::CpuAbove));
        let exec = self.exec.value?;
        vetoes.extend(exec.map(|command| Veto::Busy(ReadyCheck::Exec { command })));
        Some(KeepAwake {
            vetoes,
            http: http.zip(self.status.value),
            players: players?.unwrap_or(false),
            port: self.port.value?,
            span: self.heading.span,
        })
    }
}

// === impl KeepAwake ===

impl KeepAwake {
    /// All conditions, at this port.
    pub(crate) fn at(self, port: Option<u16>) -> Vec<Veto> {
        let mut vetoes = self.vetoes;
        if let (Some((path, status)), Some(port)) = (self.http, port) {
            vetoes.push(Veto::Busy(ReadyCheck::Http {
                port,
                method: "GET".to_owned(),
                path,
                status: Some(status),
                host: None,
                header: None,
            }));
        }
        if let (true, Some(port)) = (self.players, port) {
            vetoes.push(Veto::PlayersOnline(port));
        }
        vetoes
    }

    /// Whether a condition is checked at a port.
    pub(crate) fn needs_port(&self) -> bool {
        self.http.is_some() || self.players
    }
}
