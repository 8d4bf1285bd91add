//! `[workload.NAME]`

use std::sync::Arc;

use drowse_core::{
    ProviderName, ReadyCheck, SleepMethod, StopOptions, Target, WakePlan, WorkloadName,
    WorkloadSpec,
};
use drowse_routes::{Auth, WakeRules};

use crate::{
    auth,
    config::ConfigDraft,
    duplicate_targets, pool,
    read::{Reader, Section},
    ready::{self, Check, Ready, Request},
    schema::nearest,
    sleep::{self, Busy},
    source::Span,
    values::{ADOPT, ALARMS, DURATION, IDLE, JSON, NEEDS, TEXT, WINDOWS},
    wake,
};

/// A workload before its routes are known.
pub(crate) struct Draft {
    pub(crate) spec: WorkloadSpec,
    /// Who may wake it, unless a route says otherwise.
    pub(crate) rules: Arc<WakeRules>,
    /// How visitors authenticate, unless a route says otherwise.
    pub(crate) auth: Option<Arc<Auth>>,
    ready: Ready,
    busy: Option<Busy>,
    pub(crate) spans: Spans,
}

/// Where a workload names others.
pub(crate) struct Spans {
    provider: Span,
    pub(crate) target: Span,
    /// One for each need.
    pub(crate) needs: Vec<Span>,
    pub(crate) pool: Span,
    pub(crate) awake: Span,
}

/// Reads every workload.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    for (name, section) in top.named(r, "workload") {
        let name = WorkloadName::parse(name)
            .map_err(|error| r.report(section.span, error.to_string()))
            .ok();
        let auth = auth::named(r, &section, found, None);
        let draft = workload(r, &section, name.clone(), auth);
        if let Some(name) = name {
            found.workloads.insert(name, (draft, section.span));
        }
    }
}

/// Checks that the providers exist, and gives each workload the readiness its routes call for.
pub(crate) fn settle(r: &mut Reader, found: &mut ConfigDraft) {
    duplicate_targets::refuse(r, found);
    for (name, (draft, _)) in &mut found.workloads {
        let Some(draft) = draft else { continue };
        if !found.providers.contains_key(&draft.spec.provider) {
            let known = found.providers.keys().map(ProviderName::as_str);
            let provider = draft.spec.provider.as_str();
            let advice = unknown("provider", provider, known);
            r.report(draft.spans.provider, format!("there is no provider `{provider}`; {advice}"));
        }
        let routed = found.routes.iter().find(|(route, _)| route.workload == *name);
        let routed = routed.map(|(route, _)| route.port);
        let mut port_at = |port: Option<u16>, span: Span, key: &str| {
            let port = port.or(routed);
            if port.is_none() && !found.broken_routes {
                let message =
                    format!("no route leads to `{name}`, so its `{key}` needs a `port` to look at");
                r.report(span, message);
            }
            port
        };
        let check = match (std::mem::replace(&mut draft.ready, Ready::Usual), routed) {
            (Ready::Without(check), _) => Some(check),
            (Ready::Usual, None) => Some(ReadyCheck::Started),
            (Ready::Usual, Some(port)) => Some(Check::Http(Request::get("/")).at(port)),
            (Ready::At { port, span, check }, _) => {
                port_at(port, span, "ready").map(|port| check.at(port))
            }
        };
        if let Some(check) = check {
            draft.spec.ready = check;
        }
        if let Some(busy) = draft.busy.take() {
            let port = match busy.needs_port() {
                true => port_at(busy.port, busy.span, "keep-awake-if"),
                false => None,
            };
            draft.spec.vetoes = busy.at(port);
        }
    }
    pool::settle(r, found);
    last_words(found);
}

/// A process that ends with the router ends as its workload is stopped. The target of a workload is
/// the name of its command where its provider runs commands.
fn last_words(found: &mut ConfigDraft) {
    for (draft, _) in found.workloads.values() {
        let Some(spec) = draft.as_ref().map(|draft| &draft.spec) else { continue };
        let plan = spec.deeper.as_ref().map_or(&spec.sleep, |deeper| &deeper.plan);
        let provider = found.providers.get_mut(&spec.provider);
        let provider = provider.and_then(|(settings, _)| settings.as_mut());
        let command = provider.and_then(|it| it.commands.get_mut(&spec.target.handle));
        if let (Some(command), SleepMethod::Stop) = (command, plan.method) {
            command.end = StopOptions { signal: plan.signal.clone(), grace: plan.grace };
        }
    }
}

/// What to do about a name that nobody bears.
pub(crate) fn unknown<'k>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let known: Vec<_> = known.take(8).map(|name| format!("`{name}`")).collect();
    match (known.as_slice(), what) {
        ([], "listener") => "define one as [[listener]]".to_owned(),
        ([], what) => format!("define it as [{what}.{name}]"),
        (known, what) => format!("known {what}s are {}", known.join(", ")),
    }
}

fn workload(
    r: &mut Reader,
    section: &Section<'_>,
    name: Option<WorkloadName>,
    auth: Option<Option<Arc<Auth>>>,
) -> Option<Draft> {
    let span = section.span_of("provider");
    let provider =
        section.get(r, "provider", &TEXT).and_then(|text| match ProviderName::parse(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                r.report(span, error.to_string());
                None
            }
        });
    let target = section.span_of("target");
    let handle = section.find(r, "target", &TEXT);
    let settings = section.get(r, "settings", &JSON);
    let idle = section.get(r, "idle", &IDLE);
    let sleep = section.table(r, "sleep").and_then(|section| sleep::sleep(r, &section));
    let deeper = sleep::deeper(r, section, sleep.as_ref());
    let busy = sleep::busy(r, section);
    let ready = ready::read(r, section);
    let adopt = section.get(r, "adopt", &ADOPT);
    let needs = section.get(r, "needs", &NEEDS);
    let pool = pool::membership(r, section);
    let awake = section.get(r, "awake-during", &WINDOWS);
    let wake = section.table(r, "wake").and_then(|section| {
        let timeout = section.get(r, "timeout", &DURATION);
        let cooldown = section.get(r, "cooldown", &DURATION);
        let alarms = section.get(r, "at", &ALARMS);
        let rules = wake::of_workload(r, &section);
        Some((WakePlan { timeout: timeout?, cooldown: cooldown? }, alarms?, Arc::new(rules?)))
    });
    let name = name?;
    let (wake, alarms, rules) = wake?;
    Some(Draft {
        spec: WorkloadSpec {
            provider: provider?,
            target: Target {
                handle: handle?.unwrap_or_else(|| name.as_str().to_owned()),
                settings: settings?.to_string(),
            },
            name,
            idle: idle?,
            sleep: sleep?,
            deeper: deeper?,
            vetoes: Vec::new(),
            ready: ReadyCheck::Started,
            wake,
            adopt: adopt?,
            needs: needs?,
            pool: pool?,
            awake: awake?,
            alarms,
        },
        rules,
        auth: auth?,
        ready: ready?,
        busy: Some(busy?),
        spans: Spans {
            provider: span,
            target,
            needs: section.spans_in("needs"),
            pool: section.span_of("pool"),
            awake: section.span_of("awake-during"),
        },
    })
}
