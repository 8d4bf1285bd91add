//! `[workload.NAME]`

use std::sync::Arc;

use drowse_core::{
    ProviderName, ReadyCheck, SleepMethod, StopOptions, Target, WorkloadName, WorkloadSpec,
};
use drowse_routes::{Auth, WakeRules};

use crate::{
    auth,
    config::ConfigDraft,
    duplicate_targets,
    pool::{self, MembershipKeys},
    read::{Nested, Reader},
    ready::{Check, Ready, ReadyTable, Request},
    root::Root,
    schema::{nearest, table},
    sleep::{DeepSleepTable, KeepAwake, KeepAwakeTable, SleepTable},
    source::Span,
    values::{
        AdoptPolicy, DurationOrNever, Flag, Json, Needs, PoolReference, Priority, Size, Text,
        Windows,
    },
    wake::WorkloadWakeTable,
};

table! {
    /// One thing that sleeps and wakes. You choose its name, which stays when its container is
    /// recreated.
    pub(crate) struct WorkloadTable("[workload.NAME]") {
        /// The provider that starts and stops it.
        provider: Text, required;
        /// The provider's name for it: a container's name, a command's name.
        target: Text, otherwise "the workload's name";
        /// Settings for this provider; `drowse plugin inspect` lists them.
        settings: Json = "{}", secret;
        /// Sleeps after this time without visits, or `never`.
        idle: DurationOrNever = "\"10m\"";
        /// How it is put to sleep.
        sleep: Nested<SleepTable> = "{}";
        /// When it is ready, so that visitors are let in.
        ready: Nested<ReadyTable>, otherwise "`{ http = \"/\" }` when a route leads to it, else `{ started = true }`";
        /// When and how its light sleep becomes a deeper one.
        deep_sleep: Nested<DeepSleepTable>, otherwise "one kind of sleep";
        /// Conditions that keep it awake without visitors.
        keep_awake_if: Nested<KeepAwakeTable> = "{}";
        /// How it is woken, and by whom.
        wake: Nested<WorkloadWakeTable> = "{}";
        /// Treatment of a workload that is found running though the router did not start it. `keep` serves it,
        /// and its idle time begins when the first visitor has left; `sleep` serves it, and the idle time
        /// begins at once; `ignore` leaves it alone until a visitor needs it.
        adopt: AdoptPolicy = "\"keep\"";
        /// Other workloads that must be awake before this one is started, and for as long as it is awake:
        /// names, or `{ workload = "db", until = "started" }`. `until` is `healthy` (ready by its own
        /// check), `started` (reported as running by the provider) or `completed` (a job that has run).
        /// The `depends_on` of a compose project counts, too.
        needs: Needs = "[]";
        /// The `[pool.NAME]` whose capacity it shares.
        pool: PoolReference, otherwise "no limit";
        /// Precedence in its pool: a higher one is let in first and put to sleep last.
        priority: Priority, otherwise "0";
        /// It is never put to sleep to make room for another.
        pinned: Flag, otherwise "false";
        /// Memory that it takes of its pool.
        memory: Size, otherwise "what the provider measures once it runs";
        /// Times in which it is awake regardless of visitors, such as
        /// `["mon-fri 08:00-18:00 Europe/Berlin"]`.
        awake_during: Windows = "[]";
        /// How visitors authenticate on its routes: the name of an `[auth.NAME]`.
        auth: Text, otherwise "none";
    }
}

/// A workload before its routes are known.
pub(crate) struct Draft {
    pub(crate) spec: WorkloadSpec,
    /// The clients that may wake it, unless a route overrides that.
    pub(crate) rules: Arc<WakeRules>,
    /// How visitors authenticate, unless a route overrides that.
    pub(crate) auth: Option<Arc<Auth>>,
    ready: Ready,
    keep_awake: Option<KeepAwake>,
    pub(crate) spans: Spans,
}

/// The places of the keys of a workload.
pub(crate) struct Spans {
    provider: Span,
    pub(crate) target: Span,
    /// One for each need.
    pub(crate) needs: Vec<Span>,
    pub(crate) pool: Span,
    pub(crate) awake: Span,
}

/// Reads all workloads.
pub(crate) fn read(r: &mut Reader, root: &mut Root, config: &mut ConfigDraft) {
    for (name, table) in root.workload.value.take().flatten().unwrap_or_default() {
        let span = table.heading.span;
        let name =
            WorkloadName::parse(&name).map_err(|error| r.report(span, error.to_string())).ok();
        let draft = table.draft(r, name.clone(), config);
        if let Some(name) = name {
            config.workloads.insert(name, (draft, span));
        }
    }
}

/// Checks that the providers exist, and gives each workload the port of its first route for its checks.
pub(crate) fn settle(r: &mut Reader, config: &mut ConfigDraft) {
    duplicate_targets::report(r, config);
    for (name, (draft, _)) in &mut config.workloads {
        let Some(draft) = draft else { continue };
        if !config.providers.contains_key(&draft.spec.provider) {
            let known = config.providers.keys().map(ProviderName::as_str);
            let provider = draft.spec.provider.as_str();
            let advice = unknown("provider", provider, known);
            r.report(draft.spans.provider, format!("there is no provider `{provider}`; {advice}"));
        }
        let routed = config.routes.iter().find(|(route, _)| route.workload == *name);
        let routed = routed.map(|(route, _)| route.port);
        let mut port_at = |port: Option<u16>, span: Span, key: &str| {
            let port = port.or(routed);
            if port.is_none() && !config.broken_routes {
                let message = format!("no route leads to `{name}`, so its `{key}` needs a `port`");
                r.report(span, message);
            }
            port
        };
        let check = match (std::mem::replace(&mut draft.ready, Ready::Default), routed) {
            (Ready::Without(check), _) => Some(check),
            (Ready::Default, None) => Some(ReadyCheck::Started),
            (Ready::Default, Some(port)) => Some(Check::Http(Request::get("/")).at(port)),
            (Ready::At { port, span, check }, _) => {
                port_at(port, span, "ready").map(|port| check.at(port))
            }
        };
        if let Some(check) = check {
            draft.spec.ready = check;
        }
        if let Some(keep_awake) = draft.keep_awake.take() {
            let port = match keep_awake.needs_port() {
                true => port_at(keep_awake.port, keep_awake.span, "keep-awake-if"),
                false => None,
            };
            draft.spec.vetoes = keep_awake.at(port);
        }
    }
    pool::settle(r, config);
    end_as_stopped(config);
}

/// Gives each granted program the stop options of its workload, for the end of the router. If a provider
/// runs commands, the target of a workload is the name of its command.
fn end_as_stopped(config: &mut ConfigDraft) {
    for (draft, _) in config.workloads.values() {
        let Some(spec) = draft.as_ref().map(|draft| &draft.spec) else { continue };
        let plan = spec.deep_sleep.as_ref().map_or(&spec.sleep, |deeper| &deeper.plan);
        let provider = config.providers.get_mut(&spec.provider);
        let provider = provider.and_then(|(settings, _)| settings.as_mut());
        let command = provider.and_then(|it| it.commands.get_mut(&spec.target.handle));
        if let (Some(command), SleepMethod::Stop) = (command, plan.method) {
            command.end = StopOptions { signal: plan.signal.clone(), grace: plan.grace };
        }
    }
}

/// Advice about a name that is not defined.
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

// === impl WorkloadTable ===

impl WorkloadTable {
    fn draft(
        self,
        r: &mut Reader,
        name: Option<WorkloadName>,
        config: &ConfigDraft,
    ) -> Option<Draft> {
        let auth = auth::resolve(r, self.auth, config, None);
        let provider = self.provider.value.and_then(|text| match ProviderName::parse(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                r.report(self.provider.mark.span, error.to_string());
                None
            }
        });
        let sleep = self.sleep.value.and_then(|table| table.settings(r));
        let deeper = self.deep_sleep.value.and_then(|table| match table {
            Some(table) => table.settings(r, sleep.as_ref()).map(Some),
            None => Some(None),
        });
        let keep_awake = self.keep_awake_if.value.and_then(|table| table.settings(r));
        let ready = self.ready.value.and_then(|table| match table {
            Some(table) => table.settings(r),
            None => Some(Ready::Default),
        });
        let spans = Spans {
            provider: self.provider.mark.span,
            target: self.target.mark.span,
            needs: self.needs.value.iter().flatten().map(|(_, span)| *span).collect(),
            pool: self.pool.mark.span,
            awake: self.awake_during.mark.span,
        };
        let membership = MembershipKeys {
            pool: self.pool,
            priority: self.priority,
            pinned: self.pinned,
            memory: self.memory,
        };
        let pool = membership.settings(r);
        let wake = self.wake.value.and_then(|table| table.settings(r));
        let (name, wake) = (name?, wake?);
        Some(Draft {
            spec: WorkloadSpec {
                provider: provider?,
                target: Target {
                    handle: self.target.value?.unwrap_or_else(|| name.as_str().to_owned()),
                    settings: self.settings.value?.to_string(),
                },
                name,
                idle: self.idle.value?,
                sleep: sleep?,
                deep_sleep: deeper?,
                vetoes: Vec::new(),
                ready: ReadyCheck::Started,
                wake: wake.plan,
                adopt: self.adopt.value?,
                needs: self.needs.value?.into_iter().map(|(need, _)| need).collect(),
                pool: pool?,
                awake: self.awake_during.value?,
                alarms: wake.alarms,
            },
            rules: wake.rules,
            auth: auth?,
            ready: ready?,
            keep_awake: Some(keep_awake?),
            spans,
        })
    }
}
