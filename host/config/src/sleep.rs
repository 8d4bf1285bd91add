//! How a workload is put to sleep, and what speaks against it.

use std::ops::RangeInclusive;

use drowse_core::{Deeper, ReadyCheck, SleepMethod, SleepPlan, Veto};

use crate::{
    read::{Reader, Section, ValueParser},
    ready::is_path,
    signal,
    source::Span,
    values::{
        COMMAND_INSIDE, DEEPER_METHOD, DURATION, FLAG, PERCENT, PORT, SLEEP_METHOD, STATUSES, TEXT,
    },
};

/// What may speak against sleeping, perhaps without a port.
pub(crate) struct Busy {
    pub(crate) vetoes: Vec<Veto>,
    pub(crate) http: Option<(String, RangeInclusive<u16>)>,
    pub(crate) players: bool,
    pub(crate) port: Option<u16>,
    pub(crate) span: Span,
}

/// `[workload.NAME.sleep]`
pub(crate) fn sleep(r: &mut Reader, section: &Section<'_>) -> Option<SleepPlan> {
    plan(r, section, &SLEEP_METHOD)
}

fn plan(
    r: &mut Reader,
    section: &Section<'_>,
    method: &ValueParser<SleepMethod>,
) -> Option<SleepPlan> {
    let method = section.get(r, "method", method);
    let signal = section.find(r, "signal", &TEXT);
    let grace = section.get(r, "grace", &DURATION);
    let method = method?;
    if method == SleepMethod::Pause && section.has("signal") {
        r.report(section.span_of("signal"), "pausing sends no signal; take `signal` out");
    }
    if section.has("grace") && method != SleepMethod::Stop {
        let message = "only `stop` waits for its end; take `grace` out, or set `method = \"stop\"`";
        r.report(section.span_of("grace"), message);
    }
    let signal = signal?;
    if let Some(flaw) = signal.as_deref().and_then(signal::flaw) {
        r.report(section.span_of("signal"), flaw);
        return None;
    }
    Some(SleepPlan { method, signal, grace: grace? })
}

/// `[workload.NAME.deep-sleep]`
pub(crate) fn deeper(
    r: &mut Reader,
    workload: &Section<'_>,
    light: Option<&SleepPlan>,
) -> Option<Option<Deeper>> {
    if !workload.has("deep-sleep") {
        return Some(None);
    }
    let section = workload.table(r, "deep-sleep")?;
    let after = section.get(r, "after", &DURATION);
    let plan = plan(r, &section, &DEEPER_METHOD)?;
    if light.is_some_and(|light| light.method != SleepMethod::Pause) {
        let message = "there is no deeper sleep than `stop` and `kill`; set `sleep.method = \
                       \"pause\"`, or take `deep-sleep` out";
        r.report(section.span, message);
        return None;
    }
    Some(Some(Deeper { after: after?, plan }))
}

/// `[workload.NAME.keep-awake-if]`
pub(crate) fn busy(r: &mut Reader, workload: &Section<'_>) -> Option<Busy> {
    let section = workload.table(r, "keep-awake-if")?;
    let cpu = section.find(r, "cpu-above", &PERCENT);
    let http = section.find(r, "http", &TEXT);
    let status = section.get(r, "status", &STATUSES);
    let exec = section.find(r, "exec", &COMMAND_INSIDE);
    let players = section.find(r, "players", &FLAG);
    let port = section.find(r, "port", &PORT);
    let http = http?;
    if let Some(path) = &http
        && !is_path(r, section.span_of("http"), path)
    {
        return None;
    }
    if http.is_none() && section.has("status") {
        r.report(section.span_of("status"), "`status` has no meaning without `http`");
    }
    if section.has("port") && http.is_none() && players.is_none_or(|players| players != Some(true))
    {
        let message = "`port` has no meaning without `http` or `players`";
        r.report(section.span_of("port"), message);
    }
    let mut vetoes = Vec::new();
    vetoes.extend(cpu?.map(Veto::CpuAbove));
    vetoes.extend(exec?.map(|command| Veto::Busy(ReadyCheck::Exec { command })));
    Some(Busy {
        vetoes,
        http: http.zip(status),
        players: players?.unwrap_or(false),
        port: port?,
        span: section.span,
    })
}

// === impl Busy ===

impl Busy {
    /// Everything that is asked, at this port.
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

    /// Something is asked at a port.
    pub(crate) fn needs_port(&self) -> bool {
        self.http.is_some() || self.players
    }
}
