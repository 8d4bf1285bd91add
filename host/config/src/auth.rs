//! `[auth.NAME]`

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use drowse_core::WorkloadName;
use drowse_proxy::check_users;
use drowse_routes::{Auth, AuthKind, BasicAuth, ForwardAuth};

use crate::{
    config::ConfigDraft,
    provider::url,
    read::{Reader, Section},
    source::Span,
    values::{DURATION, HEADER, HEADER_NAMES, PATH, TEXT},
    workload::unknown,
};

/// A service that says nothing for longer is not asked any more.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What a route says that needs no authentication though its workload does.
const NONE: &str = "none";

/// Reads every way to authenticate.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    for (name, section) in top.named(r, "auth") {
        if name == NONE {
            let message = "`none` means no authentication; call this one something else";
            r.report(section.span, message);
        }
        let auth =
            kind(r, &section, name).map(|kind| Arc::new(Auth { name: name.to_owned(), kind }));
        found.auths.insert(name.to_owned(), auth);
    }
}

/// What the key `auth` of a workload or route says, or what is usual when it is not there. The
/// outer `None` is an error.
pub(crate) fn named(
    r: &mut Reader,
    section: &Section<'_>,
    found: &ConfigDraft,
    usual: Option<Arc<Auth>>,
) -> Option<Option<Arc<Auth>>> {
    let Some(name) = section.find(r, "auth", &TEXT)? else { return Some(usual) };
    if name == NONE {
        return Some(None);
    }
    match found.auths.get(&name) {
        // One with an error, which is told where it stands, is as good as any.
        Some(auth) => Some(auth.clone()),
        None => {
            let advice = unknown("auth", &name, found.auths.keys().map(String::as_str));
            let message = format!("there is no auth `{}`; {advice}", name.escape_debug());
            r.report(section.span_of("auth"), message);
            None
        }
    }
}

/// Tells each route which headers authentication sets on any route to the same workload, so that no
/// client can set them on another.
pub(crate) fn settle(found: &mut ConfigDraft) {
    let mut identity_headers = HashMap::<WorkloadName, BTreeSet<String>>::new();
    for (route, _) in &found.routes {
        let headers = match route.auth.as_ref().map(|auth| &auth.kind) {
            Some(AuthKind::Basic(basic)) => basic.user_header.as_slice(),
            Some(AuthKind::Forward(forward)) => &forward.headers,
            None => continue,
        };
        identity_headers.entry(route.workload.clone()).or_default().extend(headers.iter().cloned());
    }
    let identity_headers: HashMap<_, Arc<[String]>> = identity_headers
        .into_iter()
        .map(|(workload, headers)| (workload, headers.into_iter().collect()))
        .collect();
    for (route, _) in &mut found.routes {
        route.identity_headers = identity_headers.get(&route.workload).cloned().unwrap_or_default();
    }
}

fn kind(r: &mut Reader, section: &Section<'_>, name: &str) -> Option<AuthKind> {
    let users = section.find(r, "users-file", &PATH);
    let realm = section.find(r, "realm", &TEXT);
    let user_header = section.find(r, "user-header", &HEADER);
    let forward = section.find(r, "forward", &TEXT);
    let headers = section.find(r, "copy-headers", &HEADER_NAMES);
    let timeout = section.find(r, "timeout", &DURATION);
    let (kind, unfit): (_, &[&str]) = match (section.has("users-file"), section.has("forward")) {
        (true, false) => ("users-file", &["copy-headers", "timeout"]),
        (false, true) => ("forward", &["realm", "user-header"]),
        _ => {
            let message =
                format!("{} takes exactly one of `users-file` and `forward`", section.title);
            r.report(section.span, message);
            return None;
        }
    };
    for key in unfit.iter().filter(|key| section.has(key)) {
        r.report(section.span_of(key), format!("`{key}` has no meaning with `{kind}`"));
    }
    if kind == "users-file" {
        let users = users??;
        if let Err(why) = check_users(&users) {
            r.report(section.span_of("users-file"), why);
        }
        let realm = self::realm(r, section.span_of("realm"), realm?, name)?;
        return Some(AuthKind::Basic(BasicAuth { users, realm, user_header: user_header? }));
    }
    let (host, port, path) = match url::http(&forward??) {
        Ok(parts) => parts,
        Err(why) => {
            r.report(section.span_of("forward"), format!("`forward`: {why}"));
            return None;
        }
    };
    let (headers, timeout) = (headers?.unwrap_or_default(), timeout?.unwrap_or(TIMEOUT));
    Some(AuthKind::Forward(ForwardAuth { host, port, path, headers, timeout }))
}

/// It stands in quotes in a header.
fn realm(r: &mut Reader, span: Span, said: Option<String>, name: &str) -> Option<String> {
    let realm = said.unwrap_or_else(|| name.to_owned());
    let fits = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    if realm.len() > 100 || !realm.chars().all(fits) {
        let message = "`realm` is at most 100 letters, digits and signs of ASCII, without `\"` and \
                       `\\`";
        r.report(span, message);
        return None;
    }
    Some(realm)
}
