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
    read::{Field, Mark, Reader},
    root::Root,
    schema::table,
    source::Span,
    values::{DurationText, FilePath, HeaderName, HeaderNames, Text, UrlText},
    workload::unknown,
};

table! {
    /// One way to authenticate, for the workloads and routes that name it: exactly one of `users-file`
    /// and `forward`. It applies to every request, whether the workload is awake or not, and before a
    /// request wakes it. See [who may wake](who-may-wake.md).
    pub(crate) struct AuthTable("[auth.NAME]", secret) {
        /// File of users with the hashes of their passwords, as `htpasswd -B` writes it. Read again when
        /// it changes.
        users_file: FilePath, otherwise "no such check";
        /// The realm that browsers show when they ask for the password. For `users-file`.
        realm: Text, otherwise "its name";
        /// Header in which the workload gets the user's name, such as `Remote-User`. The client's own is
        /// removed. For `users-file`.
        user_header: HeaderName, otherwise "none";
        /// URL of a service that is asked about every request, such as
        /// `http://authelia:9091/api/authz/forward-auth`. It gets the request's headers with
        /// `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`. A 2xx response lets the request
        /// pass, every other response is sent to the client.
        forward: UrlText, otherwise "no such check", url;
        /// Headers of the service's response that are copied to the workload's request, such as
        /// `["Remote-User", "Remote-Groups"]`. The client's own are removed. For `forward`.
        copy_headers: HeaderNames, otherwise "none";
        /// Time for the service to respond; then the client gets 504. For `forward`.
        timeout: DurationText, otherwise "`5s`";
    }
}

/// Default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The value by which a route needs no authentication though its workload does.
const NONE: &str = "none";

/// Reads all ways to authenticate.
pub(crate) fn read(r: &mut Reader, root: &mut Root, draft: &mut ConfigDraft) {
    for (name, table) in root.auth.value.take().flatten().unwrap_or_default() {
        if name == NONE {
            let message = "`none` means no authentication; choose another name";
            r.report(table.heading.span, message);
        }
        let kind = table.kind(r, &name);
        let auth = kind.map(|kind| Arc::new(Auth { name: name.clone(), kind }));
        draft.auths.insert(name, auth);
    }
}

/// Resolves the key `auth` of a workload or route; `default` applies if it is absent. The outer `None` is
/// an error.
pub(crate) fn resolve(
    r: &mut Reader,
    field: Field<Option<String>>,
    draft: &ConfigDraft,
    default: Option<Arc<Auth>>,
) -> Option<Option<Arc<Auth>>> {
    let Some(name) = field.value? else { return Some(default) };
    if name == NONE {
        return Some(None);
    }
    match draft.auths.get(&name) {
        // An invalid one has been reported where it is defined.
        Some(auth) => Some(auth.clone()),
        None => {
            let advice = unknown("auth", &name, draft.auths.keys().map(String::as_str));
            let message = format!("there is no auth `{}`; {advice}", name.escape_debug());
            r.report(field.mark.span, message);
            None
        }
    }
}

/// Gives each route the headers that authentication sets on any route to the same workload, so that no
/// client can set them on another.
pub(crate) fn settle(draft: &mut ConfigDraft) {
    let mut identity_headers = HashMap::<WorkloadName, BTreeSet<String>>::new();
    for (route, _) in &draft.routes {
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
    for (route, _) in &mut draft.routes {
        route.identity_headers = identity_headers.get(&route.workload).cloned().unwrap_or_default();
    }
}

// === impl AuthTable ===

impl AuthTable {
    fn kind(self, r: &mut Reader, name: &str) -> Option<AuthKind> {
        let Self { heading, users_file, realm, user_header, forward, copy_headers, timeout } = self;
        let without_effect = |r: &mut Reader, key: Mark, kind: &str| {
            if key.written {
                r.report(key.span, format!("`{}` has no meaning with `{kind}`", key.key));
            }
        };
        match (users_file.mark.written, forward.mark.written) {
            (true, false) => {
                without_effect(r, copy_headers.mark, "users-file");
                without_effect(r, timeout.mark, "users-file");
                let users = users_file.value??;
                if let Err(why) = check_users(&users) {
                    r.report(users_file.mark.span, why);
                }
                let realm = self::realm(r, realm.mark.span, realm.value?, name)?;
                Some(AuthKind::Basic(BasicAuth { users, realm, user_header: user_header.value? }))
            }
            (false, true) => {
                without_effect(r, realm.mark, "forward");
                without_effect(r, user_header.mark, "forward");
                let (host, port, path) = match url::http(&forward.value??) {
                    Ok(parts) => parts,
                    Err(why) => {
                        r.report(forward.mark.span, format!("`forward`: {why}"));
                        return None;
                    }
                };
                let headers = copy_headers.value?.unwrap_or_default();
                let timeout = timeout.value?.unwrap_or(TIMEOUT);
                Some(AuthKind::Forward(ForwardAuth { host, port, path, headers, timeout }))
            }
            _ => {
                let title = heading.title;
                let message = format!("{title} takes exactly one of `users-file` and `forward`");
                r.report(heading.span, message);
                None
            }
        }
    }
}

/// Checks a realm, which is written in quotes in a header.
fn realm(r: &mut Reader, span: Span, written: Option<String>, name: &str) -> Option<String> {
    let realm = written.unwrap_or_else(|| name.to_owned());
    let is_valid = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    if realm.len() > 100 || !realm.chars().all(is_valid) {
        let message =
            "`realm` is at most 100 letters, digits and signs of ASCII, without `\"` and `\\`";
        r.report(span, message);
        return None;
    }
    Some(realm)
}
