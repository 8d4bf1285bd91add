//! `[[route]]`

use std::{collections::HashMap, sync::Arc};

use drowse_core::WorkloadName;
use drowse_routes::{HostMatch, Route};

use crate::{
    auth,
    config::Found,
    forms::{DURATION, PORT, TEXT, WAITING},
    read::{Reader, Section},
    source::Place,
    wake,
    workload::unknown,
};

/// Reads every route.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut Found) {
    let mut held = HashMap::<_, Place>::new();
    for section in top.tables(r, "route") {
        let Some(route) = route(r, &section, found) else {
            found.broken_routes = true;
            continue;
        };
        let place = section.place;
        let key = (route.listener.clone(), route.host.clone(), route.path.clone());
        match held.get(&key) {
            Some(first) => {
                let first = r.show(*first);
                let message =
                    format!("the route in {first} has this listener, host and path already");
                r.complain(place, message);
            }
            None => drop(held.insert(key, place)),
        }
        found.routes.push((route, place));
    }
}

fn route(r: &mut Reader, section: &Section<'_>, found: &Found) -> Option<Route> {
    let listener = listener(r, section, found);
    let host = section.get(r, "host", &TEXT).and_then(|text| match host(&text) {
        Ok(host) => Some(host),
        Err(why) => {
            let text = text.escape_debug();
            r.complain(section.place_of("host"), format!("`host` \"{text}\": {why}"));
            None
        }
    });
    let path = section.get(r, "path", &TEXT).and_then(|text| match path(&text) {
        Ok(path) => Some(path),
        Err(why) => {
            let text = text.escape_debug();
            r.complain(section.place_of("path"), format!("`path` \"{text}\": {why}"));
            None
        }
    });
    let workload = workload(r, section, found);
    let port = section.get(r, "port", &PORT);
    let waiting = section.get(r, "waiting", &WAITING);
    let patience = section.get(r, "patience", &DURATION);
    let draft = workload.as_ref().and_then(|name| found.workloads.get(name)?.0.as_ref());
    let (rules, usual) =
        draft.map_or_else(Default::default, |draft| (draft.rules.clone(), draft.auth.clone()));
    let wake = wake::of_route(r, section, &rules);
    let auth = auth::named(r, section, found, usual);
    Some(Route {
        listener: listener?,
        host: host?,
        path: path?,
        workload: workload?,
        port: port?,
        waiting: waiting?,
        patience: patience?,
        wake: wake?,
        auth: auth?,
        vouched: Arc::default(),
    })
}

fn listener(r: &mut Reader, section: &Section<'_>, found: &Found) -> Option<String> {
    let name = section.find(r, "listener", &TEXT)?;
    let place = section.place_of("listener");
    let known = found.listener_names.iter().map(|(name, _)| name.as_str());
    match (name, found.listener_names.as_slice()) {
        (Some(name), _) if known.clone().any(|held| held == name) => Some(name),
        (Some(name), _) => {
            let advice = unknown("listener", &name, known);
            r.complain(place, format!("there is no listener `{name}`; {advice}"));
            None
        }
        (None, [(only, _)]) => Some(only.clone()),
        // The listener that is there has a mistake, which is told where it stands.
        (None, []) => {
            if !found.broken_listeners {
                r.complain(place, "there is no listener; define one as [[listener]]");
            }
            None
        }
        (None, _) => {
            let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
            let message = format!(
                "there are several listeners; name one as `listener`: {}",
                known.join(", ")
            );
            r.complain(place, message);
            None
        }
    }
}

fn workload(r: &mut Reader, section: &Section<'_>, found: &Found) -> Option<WorkloadName> {
    let text = section.get(r, "workload", &TEXT)?;
    let known = found.workloads.keys().map(WorkloadName::as_str);
    match WorkloadName::parse(&text) {
        Ok(name) if found.workloads.contains_key(&name) => Some(name),
        Err(error) => {
            r.complain(section.place_of("workload"), error.to_string());
            None
        }
        Ok(_) => {
            let advice = unknown("workload", &text, known);
            let message = format!("there is no workload `{}`; {advice}", text.escape_debug());
            r.complain(section.place_of("workload"), message);
            None
        }
    }
}

fn host(text: &str) -> Result<HostMatch, &'static str> {
    if text == "*" {
        return Ok(HostMatch::Any);
    }
    let (name, wildcard) = match text.strip_prefix("*.") {
        Some(suffix) => (suffix, true),
        None => (text, false),
    };
    if name.contains('*') {
        return Err("`*` stands alone, or in front as in \"*.example.org\"");
    }
    if name.contains("://") || name.contains('/') {
        return Err("write the host alone, without scheme and path");
    }
    let bracketed = name.starts_with('[') && name.ends_with(']');
    if name.contains(':') && !bracketed {
        return Err("write the host without its port; the listener has one");
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    if !bracketed && !name.is_ascii() {
        return Err("write it in its ASCII form, as it stands in DNS (xn--…)");
    }
    if !bracketed && (name.len() > 253 || !name.split('.').all(label)) {
        return Err("this is not a host name");
    }
    Ok(if wildcard { HostMatch::Wildcard(name) } else { HostMatch::Exact(name) })
}

fn path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("it begins with `/`");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#*\\".contains(c)) {
        return Err("a path has no spaces, queries, fragments or patterns");
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it has empty or dot segments, which never match");
    }
    Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}
