//! `[workload.NAME]`

use std::ops::RangeInclusive;

use drowse_core::{
    ProviderName, ReadyCheck, SleepMethod, SleepPlan, Target, WakePlan, WorkloadName, WorkloadSpec,
};

use crate::{
    config::Found,
    forms::{DURATION, FLAG, IDLE, JSON, PORT, SLEEP_METHOD, STATUSES, TEXT},
    read::{Reader, Section},
    schema::nearest,
    signal,
    source::Place,
    twins,
};

/// A workload before its routes are known.
pub(crate) struct Draft {
    pub(crate) spec: WorkloadSpec,
    ready: Ready,
    provider: Place,
    pub(crate) target: Place,
}

/// When it is ready, perhaps without a port.
enum Ready {
    /// By what leads to it.
    Usual,
    Started,
    Tcp {
        port: Option<u16>,
        place: Place,
    },
    Http {
        port: Option<u16>,
        method: String,
        path: String,
        status: Option<RangeInclusive<u16>>,
        host: Option<String>,
        place: Place,
    },
}

/// Reads every workload.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut Found) {
    for (name, section) in top.named(r, "workload") {
        let name = WorkloadName::parse(name)
            .map_err(|error| r.complain(section.place, error.to_string()))
            .ok();
        let draft = workload(r, &section, name.clone());
        if let Some(name) = name {
            found.workloads.insert(name, (draft, section.place));
        }
    }
}

/// Checks that the providers exist, and gives each workload the readiness its routes call for.
pub(crate) fn settle(r: &mut Reader, found: &mut Found) {
    twins::refuse(r, found);
    for (name, (draft, _)) in &mut found.workloads {
        let Some(draft) = draft else { continue };
        if !found.providers.contains_key(&draft.spec.provider) {
            let known = found.providers.keys().map(ProviderName::as_str);
            let provider = draft.spec.provider.as_str();
            let advice = unknown("provider", provider, known);
            r.complain(draft.provider, format!("there is no provider `{provider}`; {advice}"));
        }
        let routed = found.routes.iter().find(|(route, _)| route.workload == *name);
        let routed = routed.map(|(route, _)| route.port);
        let mut port_at = |port: Option<u16>, place: Place| {
            let port = port.or(routed);
            if port.is_none() && !found.broken_routes {
                let message =
                    format!("no route leads to `{name}`, so its `ready` needs a `port` to look at");
                r.complain(place, message);
            }
            port
        };
        let check = match (std::mem::replace(&mut draft.ready, Ready::Started), routed) {
            (Ready::Started, _) | (Ready::Usual, None) => Some(ReadyCheck::Started),
            (Ready::Usual, Some(port)) => Some(ReadyCheck::Http {
                port,
                method: "GET".to_owned(),
                path: "/".to_owned(),
                status: None,
                host: None,
            }),
            (Ready::Tcp { port, place }, _) => {
                port_at(port, place).map(|port| ReadyCheck::Tcp { port })
            }
            (Ready::Http { port, method, path, status, host, place }, _) => port_at(port, place)
                .map(|port| ReadyCheck::Http { port, method, path, status, host }),
        };
        if let Some(check) = check {
            draft.spec.ready = check;
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

fn workload(r: &mut Reader, section: &Section<'_>, name: Option<WorkloadName>) -> Option<Draft> {
    let place = section.place_of("provider");
    let provider =
        section.get(r, "provider", &TEXT).and_then(|text| match ProviderName::parse(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                r.complain(place, error.to_string());
                None
            }
        });
    let target = section.place_of("target");
    let handle = section.find(r, "target", &TEXT);
    let settings = section.get(r, "settings", &JSON);
    let idle = section.get(r, "idle", &IDLE);
    let sleep = section.table(r, "sleep").and_then(|section| sleep(r, &section));
    let ready = ready(r, section);
    let wake = section.table(r, "wake").and_then(|section| {
        let timeout = section.get(r, "timeout", &DURATION);
        let cooldown = section.get(r, "cooldown", &DURATION);
        Some(WakePlan { timeout: timeout?, cooldown: cooldown? })
    });
    let name = name?;
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
            ready: ReadyCheck::Started,
            wake: wake?,
        },
        ready: ready?,
        provider: place,
        target,
    })
}

fn sleep(r: &mut Reader, section: &Section<'_>) -> Option<SleepPlan> {
    let method = section.get(r, "method", &SLEEP_METHOD);
    let signal = section.find(r, "signal", &TEXT);
    let grace = section.get(r, "grace", &DURATION);
    let method = method?;
    if method == SleepMethod::Pause && section.has("signal") {
        r.complain(section.place_of("signal"), "pausing sends no signal; take `signal` out");
    }
    let signal = signal?;
    if let Some(flaw) = signal.as_deref().and_then(signal::flaw) {
        r.complain(section.place_of("signal"), flaw);
        return None;
    }
    Some(SleepPlan { method, signal, grace: grace? })
}

fn ready(r: &mut Reader, workload: &Section<'_>) -> Option<Ready> {
    if !workload.has("ready") {
        return Some(Ready::Usual);
    }
    let section = workload.table(r, "ready")?;
    let place = section.place;
    let http = section.find(r, "http", &TEXT);
    let tcp = section.find(r, "tcp", &FLAG);
    let started = section.find(r, "started", &FLAG);
    let port = section.find(r, "port", &PORT);
    let method = section.find(r, "method", &TEXT);
    let status = section.find(r, "status", &STATUSES);
    let host = section.find(r, "host", &TEXT);

    for key in ["tcp", "started"] {
        let value = if key == "tcp" { tcp } else { started };
        if value.flatten() == Some(false) {
            r.complain(section.place_of(key), format!("`{key}` is only ever true; take it out"));
            return None;
        }
    }
    let kinds: Vec<_> =
        ["http", "tcp", "started"].into_iter().filter(|key| section.has(key)).collect();
    let [kind] = kinds.as_slice() else {
        let message = "`ready` takes exactly one of `http`, `tcp` and `started`";
        r.complain(place, message);
        return None;
    };
    let unfit: &[&str] = match *kind {
        "http" => &[],
        "tcp" => &["method", "status", "host"],
        _ => &["port", "method", "status", "host"],
    };
    for key in unfit.iter().filter(|key| section.has(key)) {
        r.complain(section.place_of(key), format!("`{key}` has no meaning with `{kind}`"));
    }
    match *kind {
        "started" => Some(Ready::Started),
        "tcp" => Some(Ready::Tcp { port: port?, place }),
        _ => {
            let path = http??;
            let method = method?.unwrap_or_else(|| "GET".to_owned());
            if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c == '#') {
                let message = "`http` takes a path that begins with `/`, such as \"/health\"";
                r.complain(section.place_of("http"), message);
                return None;
            }
            if !method.bytes().all(|c| c.is_ascii_uppercase()) {
                let message = "`method` is written in capital letters, such as \"GET\"";
                r.complain(section.place_of("method"), message);
                return None;
            }
            let (status, host) = (status?, host?);
            if let Some(host) = &host
                && host.contains(|c: char| !c.is_ascii_graphic())
            {
                r.complain(section.place_of("host"), "this cannot be the name of a host");
                return None;
            }
            Some(Ready::Http { port: port?, method, path, status, host, place })
        }
    }
}
