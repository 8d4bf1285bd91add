//! `[[listener]]`

use drowse_proxy::settings::{HttpLimits, ListenerSettings};

use crate::{
    config::ConfigDraft,
    read::{Reader, Section},
    values::{ADDRESS, COUNT, DURATION, IDLE, NETWORKS, PROTOCOL, SIZE, TEXT},
};

/// Reads every listener.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    let errors = r.errors.len();
    let sections = top.tables(r, "listener");
    found.broken_listeners |= sections.is_empty() && r.errors.len() > errors;
    for section in sections {
        let name = section.get(r, "name", &TEXT);
        let settings = listener(r, &section, name.clone());
        if let Some(name) = name {
            let span = section.span_of("name");
            if let Some((_, first)) = found.listener_names.iter().find(|(held, _)| *held == name) {
                let first = r.show(*first);
                r.report(span, format!("listener `{name}` is defined in {first}, too"));
            }
            found.listener_names.push((name, span));
        }
        found.broken_listeners |= settings.is_none();
        if let Some(settings) = settings {
            let twin = found.listeners.iter().find(|held| held.bind == settings.bind);
            if let Some(twin) = twin {
                let message = format!("listener `{}` has this address already", twin.name);
                r.report(section.span_of("bind"), message);
            }
            found.listeners.push(settings);
        }
    }
}

fn listener(
    r: &mut Reader,
    section: &Section<'_>,
    name: Option<String>,
) -> Option<ListenerSettings> {
    let bind = section.get(r, "bind", &ADDRESS);
    let protocol = section.get(r, "protocol", &PROTOCOL);
    let trust = section.get(r, "trusted-proxies", &NETWORKS);
    let proxy_protocol = match section.has("proxy-protocol") {
        true => section.table(r, "proxy-protocol").and_then(|it| it.get(r, "from", &NETWORKS)),
        false => Some(Vec::new()),
    };
    let limits = section.table(r, "limits").and_then(|section| limits(r, &section));
    Some(ListenerSettings {
        name: name?,
        bind: bind?,
        protocol: protocol?,
        trust: trust?,
        proxy_protocol: proxy_protocol?,
        limits: limits?,
    })
}

fn limits(r: &mut Reader, section: &Section<'_>) -> Option<HttpLimits> {
    let connections = section.get(r, "max-connections", &COUNT);
    let head_timeout = section.get(r, "head-timeout", &DURATION);
    let head_bytes = section.get(r, "max-head-size", &SIZE);
    let keep_alive = section.get(r, "keep-alive-timeout", &DURATION);
    let body_timeout = section.get(r, "body-timeout", &DURATION);
    let send_timeout = section.get(r, "send-timeout", &DURATION);
    let read_timeout = section.get(r, "read-timeout", &DURATION);
    let tunnel_idle = section.get(r, "tunnel-idle-timeout", &IDLE);
    let connect_timeout = section.get(r, "connect-timeout", &DURATION);
    let response_timeout = section.get(r, "response-timeout", &DURATION);
    let held = section.get(r, "max-held", &COUNT);
    let head_bytes = head_bytes?;
    // Heads are held in memory, and hyper reads them with a buffer of at least 8 KiB.
    if !(8 << 10..=16 << 20).contains(&head_bytes) {
        let message = "`max-head-size` must be between 8KiB and 16MiB";
        r.report(section.span_of("max-head-size"), message);
        return None;
    }
    Some(HttpLimits {
        connections: connections?,
        head_timeout: head_timeout?,
        head_bytes: usize::try_from(head_bytes).ok()?,
        keep_alive: keep_alive?,
        body_timeout: body_timeout?,
        send_timeout: send_timeout?,
        read_timeout: read_timeout?,
        tunnel_idle: tunnel_idle?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        max_held: held?,
    })
}
