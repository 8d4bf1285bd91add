//! `[[route]]`

use std::{collections::HashMap, sync::Arc};

use drowse_core::WorkloadName;
use drowse_routes::{HostMatch, InvalidHost, InvalidPath, Route, parse_path, unprotected_parents};

use crate::{
    auth,
    config::ConfigDraft,
    read::{Field, Nested, Reader},
    root::Root,
    schema::table,
    source::Span,
    values::{DurationText, Port, SimilarPathsPolicy, Text, WaitingMode},
    wake::RouteWakeTable,
    workload::unknown,
};

table! {
    /// Which requests go to which workload. An exact host takes precedence over a wildcard, a longer path
    /// over a shorter one; the order in the file does not matter.
    pub(crate) struct RouteTable("[[route]]") {
        /// The listener that accepts the visitor.
        listener: Text, otherwise "the only one";
        /// A host name, `*.example.org` for every name below it, or `*` for all.
        host: Text = "\"*\"";
        /// Path prefix, in whole segments: `/app` matches `/app` and `/app/x`, not `/apple`. A request's
        /// path is compared as servers resolve it: `/x/../app` is `/app`. A path that only some servers
        /// resolve to another route's, such as `/app%2Fx`, gets 404.
        path: Text = "\"/\"";
        /// The workload that serves the requests.
        workload: Text, required;
        /// The workload's own port.
        port: Port, required;
        /// Response to a visitor while the workload wakes: `page` is a page that follows the wake, `hold`
        /// keeps the request until it can be served, `reject` is 503 with Retry-After, `auto` is the page
        /// for a browser's navigation and `hold` for all other requests.
        waiting: WaitingMode = "\"auto\"";
        /// A held visitor is rejected after this time.
        hold_timeout: DurationText = "\"1m\"";
        /// Clients that may wake the workload by this route.
        wake: Nested<RouteWakeTable>, otherwise "the workload's";
        /// How visitors authenticate: the name of an `[auth.NAME]`, or `none`.
        auth: Text, otherwise "the workload's";
        /// Treatment of a path that some backends take for this route's protected one, such as `/ADMIN`,
        /// `/admin.json` or `/admin%20` for `/admin`, and that would reach the same workload by a route
        /// with another `auth`: `refuse` answers 404, `allow` lets it through. A path that has its own
        /// route is not refused. See [protected paths](who-may-wake.md#protected-paths).
        similar_paths: SimilarPathsPolicy, otherwise "`refuse`";
    }
}

/// Reads all routes.
pub(crate) fn read(r: &mut Reader, root: &mut Root, draft: &mut ConfigDraft) {
    let mut held = HashMap::<_, Span>::new();
    let Some(tables) = root.route.value.take() else {
        draft.broken_routes = true;
        return;
    };
    for table in tables.unwrap_or_default() {
        let span = table.as_ref().map(|table| table.heading.span);
        let route = table.and_then(|table| table.route(r, draft));
        let (Some(route), Some(span)) = (route, span) else {
            draft.broken_routes = true;
            continue;
        };
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
        draft.routes.push((route, span));
    }
}

/// Workloads with paths that are protected and others that are not, each with what to do.
pub(crate) fn warnings(routes: &[Route]) -> Vec<(WorkloadName, String)> {
    let warning = |(protected, open): (&Route, &Route)| {
        let Route { host, path, workload, .. } = protected;
        let open = &open.path;
        let message = format!(
            "host {host}: the route for path {path} has an `auth` and that for {open} has another \
             or none; {path} written differently (case, encoding, an extension) is answered 404, \
             but whatever else the workload takes for the same page is open; protect the whole \
             host and open single paths, or set `similar-paths = \"refuse\"` on the route for \
             {path} if this is intended"
        );
        (workload.clone(), message)
    };
    unprotected_parents(routes).into_iter().map(warning).collect()
}

// === impl RouteTable ===

impl RouteTable {
    fn route(self, r: &mut Reader, draft: &ConfigDraft) -> Option<Route> {
        let listener = listener(r, self.listener, draft);
        let host = self.host.value.and_then(|text| {
            let report = |error: InvalidHost| {
                r.report(self.host.mark.span, format!("`host`: {error}"));
            };
            HostMatch::parse(&text).map_err(report).ok()
        });
        let path = self.path.value.and_then(|text| {
            let report = |error: InvalidPath| {
                r.report(self.path.mark.span, format!("`path`: {error}"));
            };
            parse_path(&text).map_err(report).ok()
        });
        let workload = workload(r, self.workload, draft);
        let defaults = workload.as_ref().and_then(|name| draft.workloads.get(name)?.0.as_ref());
        let (rules, default_auth) = defaults.map_or_else(Default::default, |workload| {
            (workload.rules.clone(), workload.auth.clone())
        });
        let wake = self.wake.value.and_then(|table| match table {
            Some(table) => table.rules(r, &rules),
            None => Some(rules),
        });
        let auth = auth::resolve(r, self.auth, draft, default_auth);
        let similar_paths = self.similar_paths.value;
        if similar_paths.flatten().is_some() && matches!(auth, Some(None)) {
            let message =
                "`similar-paths` has no meaning without `auth`: the route protects no path";
            r.report(self.similar_paths.mark.span, message);
        }
        Some(Route {
            listener: listener?,
            host: host?,
            path: path?,
            workload: workload?,
            port: self.port.value?,
            waiting: self.waiting.value?,
            hold_timeout: self.hold_timeout.value?,
            wake: wake?,
            auth: auth?,
            similar_paths: similar_paths?,
            identity_headers: Arc::default(),
        })
    }
}

fn listener(r: &mut Reader, field: Field<Option<String>>, draft: &ConfigDraft) -> Option<String> {
    let span = field.mark.span;
    let known = draft.listener_names.iter().map(|(name, _)| name.as_str());
    match (field.value?, draft.listener_names.as_slice()) {
        (Some(name), _) if known.clone().any(|held| held == name) => Some(name),
        (Some(name), _) => {
            let advice = unknown("listener", &name, known);
            r.report(span, format!("there is no listener `{name}`; {advice}"));
            None
        }
        (None, [(only, _)]) => Some(only.clone()),
        // An invalid listener has been reported where it is defined.
        (None, []) => {
            if !draft.broken_listeners {
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

fn workload(r: &mut Reader, field: Field<String>, draft: &ConfigDraft) -> Option<WorkloadName> {
    let text = field.value?;
    let known = draft.workloads.keys().map(WorkloadName::as_str);
    match WorkloadName::parse(&text) {
        Ok(name) if draft.workloads.contains_key(&name) => Some(name),
        Err(error) => {
            r.report(field.mark.span, error.to_string());
            None
        }
        Ok(_) => {
            let advice = unknown("workload", &text, known);
            let message = format!("there is no workload `{}`; {advice}", text.escape_debug());
            r.report(field.mark.span, message);
            None
        }
    }
}
