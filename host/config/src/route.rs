//! `[[route]]`

use std::{collections::HashMap, sync::Arc};

use drowse_core::WorkloadName;
use drowse_routes::{HostMatch, InvalidHost, InvalidPath, Route, parse_path, unprotected_parents};

use crate::{
    auth,
    config::ConfigDraft,
    read::{Reader, Section},
    source::Span,
    values::{DURATION, PORT, SIMILAR_PATHS, TEXT, WAITING},
    wake,
    workload::unknown,
};

/// Reads every route.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    let mut held = HashMap::<_, Span>::new();
    let errors = r.errors.len();
    let sections = top.tables(r, "route");
    found.broken_routes |= sections.is_empty() && r.errors.len() > errors;
    for section in sections {
        let Some(route) = route(r, &section, found) else {
            found.broken_routes = true;
            continue;
        };
        let span = section.span;
        let key = (route.listener.clone(), route.host.clone(), route.path.clone());
        match held.get(&key) {
            Some(first) => {
                let first = r.show(*first);
                let message =
                    format!("the route in {first} has this listener, host and path already");
                r.report(span, message);
            }
            None => drop(held.insert(key, span)),
        }
        found.routes.push((route, span));
    }
}

/// Workloads of which a part of the paths is protected and the rest is not, with what to do.
pub(crate) fn warnings(routes: &[Route]) -> Vec<(WorkloadName, String)> {
    let warning = |(protected, open): (&Route, &Route)| {
        let Route { host, path, workload, .. } = protected;
        let open = &open.path;
        let message = format!(
            "host {host}: the route for path {path} has an `auth` and that for {open} has another \
             or none; {path} written differently (case, encoding, an extension) is answered 404, \
             but whatever else the workload takes for the same page is open; protect the whole \
             host and open single paths, or put `similar-paths = \"refuse\"` on the route for \
             {path} if it is meant so"
        );
        (workload.clone(), message)
    };
    unprotected_parents(routes).into_iter().map(warning).collect()
}

fn route(r: &mut Reader, section: &Section<'_>, found: &ConfigDraft) -> Option<Route> {
    let listener = listener(r, section, found);
    let host = section.get(r, "host", &TEXT).and_then(|text| {
        let report = |error: InvalidHost| {
            r.report(section.span_of("host"), format!("`host`: {error}"));
        };
        HostMatch::parse(&text).map_err(report).ok()
    });
    let path = section.get(r, "path", &TEXT).and_then(|text| {
        let report = |error: InvalidPath| {
            r.report(section.span_of("path"), format!("`path`: {error}"));
        };
        parse_path(&text).map_err(report).ok()
    });
    let workload = workload(r, section, found);
    let port = section.get(r, "port", &PORT);
    let waiting = section.get(r, "waiting", &WAITING);
    let patience = section.get(r, "hold-timeout", &DURATION);
    let draft = workload.as_ref().and_then(|name| found.workloads.get(name)?.0.as_ref());
    let (rules, usual) =
        draft.map_or_else(Default::default, |draft| (draft.rules.clone(), draft.auth.clone()));
    let wake = wake::of_route(r, section, &rules);
    let auth = auth::named(r, section, found, usual);
    let similar_paths = section.find(r, "similar-paths", &SIMILAR_PATHS);
    if similar_paths.flatten().is_some() && matches!(auth, Some(None)) {
        let message = "`similar-paths` has no meaning without `auth`: the route protects no path";
        r.report(section.span_of("similar-paths"), message);
    }
    Some(Route {
        listener: listener?,
        host: host?,
        path: path?,
        workload: workload?,
        port: port?,
        waiting: waiting?,
        hold_timeout: patience?,
        wake: wake?,
        auth: auth?,
        similar_paths: similar_paths?,
        identity_headers: Arc::default(),
    })
}

fn listener(r: &mut Reader, section: &Section<'_>, found: &ConfigDraft) -> Option<String> {
    let name = section.find(r, "listener", &TEXT)?;
    let span = section.span_of("listener");
    let known = found.listener_names.iter().map(|(name, _)| name.as_str());
    match (name, found.listener_names.as_slice()) {
        (Some(name), _) if known.clone().any(|held| held == name) => Some(name),
        (Some(name), _) => {
            let advice = unknown("listener", &name, known);
            r.report(span, format!("there is no listener `{name}`; {advice}"));
            None
        }
        (None, [(only, _)]) => Some(only.clone()),
        // The listener that is there has an error, which is told where it stands.
        (None, []) => {
            if !found.broken_listeners {
                r.report(span, "there is no listener; define one as [[listener]]");
            }
            None
        }
        (None, _) => {
            let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
            let message = format!(
                "there are several listeners; name one as `listener`: {}",
                known.join(", ")
            );
            r.report(span, message);
            None
        }
    }
}

fn workload(r: &mut Reader, section: &Section<'_>, found: &ConfigDraft) -> Option<WorkloadName> {
    let text = section.get(r, "workload", &TEXT)?;
    let known = found.workloads.keys().map(WorkloadName::as_str);
    match WorkloadName::parse(&text) {
        Ok(name) if found.workloads.contains_key(&name) => Some(name),
        Err(error) => {
            r.report(section.span_of("workload"), error.to_string());
            None
        }
        Ok(_) => {
            let advice = unknown("workload", &text, known);
            let message = format!("there is no workload `{}`; {advice}", text.escape_debug());
            r.report(section.span_of("workload"), message);
            None
        }
    }
}
