//! `[[listener]]`

use drowse_proxy::settings::{HttpLimits, ListenerSettings};

use crate::{
    config::ConfigDraft,
    read::{Nested, Reader},
    root::Root,
    schema::table,
    values::{
        BindAddress, Count, DurationOrNever, DurationText, Networks, ProtocolName, Size, Text,
    },
};

table! {
    /// One bound socket.
    pub(crate) struct ListenerTable("[[listener]]") {
        /// The name by which routes refer to it.
        name: Text, required;
        /// Address and port.
        bind: BindAddress, required;
        /// The protocol of its clients: HTTP/1.1 without TLS.
        protocol: ProtocolName = "\"http\"";
        /// Networks of trusted proxies in front of the router. Their `X-Forwarded-*` headers are believed
        /// and extended; those of other clients are replaced.
        trusted_proxies: Networks = "[]";
        /// Proxies that report their client by the PROXY protocol.
        proxy_protocol: Nested<ProxyProtocolTable>, otherwise "not spoken";
        /// Limits on clients and on connections to workloads.
        limits: Nested<LimitsTable> = "{}";
    }
}

table! {
    /// Proxies in front of the router that report their client by the PROXY protocol (version 1 or 2).
    pub(crate) struct ProxyProtocolTable("[listener.proxy-protocol]") {
        /// Their networks. Every connection from there must begin with the protocol's header, and none
        /// from elsewhere may.
        from: Networks, required;
    }
}

table! {
    /// Limits on the clients of a listener and on its connections to workloads.
    pub(crate) struct LimitsTable("[listener.limits]") {
        /// Maximum number of client connections; more wait in the kernel. Lowered at start to what the
        /// limit of open files allows.
        max_connections: Count = "20000";
        /// Time from a request's first byte, or from the start of a connection, until the request's head
        /// is complete.
        head_timeout: DurationText = "\"15s\"";
        /// Maximum size of a request's head.
        max_head_size: Size = "\"64KiB\"";
        /// A client connection without a request is closed after this time.
        keep_alive_timeout: DurationText = "\"75s\"";
        /// Time until a connection to a workload is established.
        connect_timeout: DurationText = "\"5s\"";
        /// Time from the last piece of a request that the workload took until it takes the next one or
        /// its response begins; then the client gets 504.
        response_timeout: DurationText = "\"5m\"";
        /// A client that sends no more of its request's body for this time gets 408. Once the response
        /// has begun, `read-timeout` applies to both sides.
        body_timeout: DurationText = "\"1m\"";
        /// A client that takes no more of its response for this time is disconnected. A paused media
        /// player does that.
        send_timeout: DurationText = "\"5m\"";
        /// A workload that has begun its response and sends no more of it for this time is disconnected.
        /// Server-sent events may be silent for long; the kernel notices a workload that has vanished
        /// sooner.
        read_timeout: DurationText = "\"1h\"";
        /// A WebSocket or other tunnel without traffic for this time is closed, at the latest after twice
        /// the time.
        tunnel_idle_timeout: DurationOrNever = "\"never\"";
        /// Maximum number of held visitors; one more is refused with 503. See also `max-held` of
        /// `[waiting]`.
        max_held: Count = "16384";
    }
}

/// Reads all listeners.
pub(crate) fn read(r: &mut Reader, root: &mut Root, draft: &mut ConfigDraft) {
    let Some(tables) = root.listener.value.take() else {
        draft.broken_listeners = true;
        return;
    };
    for table in tables.unwrap_or_default() {
        let Some(table) = table else {
            draft.broken_listeners = true;
            continue;
        };
        let (name, bind) = (table.name.value.clone(), table.bind.mark);
        let span = table.name.mark.span;
        let settings = table.settings(r);
        if let Some(name) = name {
            if let Some((_, first)) = draft.listener_names.iter().find(|(held, _)| *held == name) {
                let first = r.show(*first);
                r.report(span, format!("listener `{name}` is defined in {first}, too"));
            }
            draft.listener_names.push((name, span));
        }
        draft.broken_listeners |= settings.is_none();
        if let Some(settings) = settings {
            let first = draft.listeners.iter().find(|held| held.bind == settings.bind);
            if let Some(first) = first {
                let message = format!("listener `{}` has this address already", first.name);
                r.report(bind.span, message);
            }
            draft.listeners.push(settings);
        }
    }
}

// === impl ListenerTable ===

impl ListenerTable {
    fn settings(self, r: &mut Reader) -> Option<ListenerSettings> {
        let limits = self.limits.value.and_then(|limits| limits.settings(r));
        let proxy_protocol = match self.proxy_protocol.value? {
            Some(table) => table.from.value?,
            None => Vec::new(),
        };
        Some(ListenerSettings {
            name: self.name.value?,
            bind: self.bind.value?,
            protocol: self.protocol.value?,
            trust: self.trusted_proxies.value?,
            proxy_protocol,
            limits: limits?,
        })
    }
}

// === impl LimitsTable ===

impl LimitsTable {
    fn settings(self, r: &mut Reader) -> Option<HttpLimits> {
        let head_bytes = self.max_head_size.value?;
        // Heads are held in memory, and hyper reads them with a buffer of at least 8 KiB.
        if !(8 << 10..=16 << 20).contains(&head_bytes) {
            let message = "`max-head-size` must be between 8KiB and 16MiB";
            r.report(self.max_head_size.mark.span, message);
            return None;
        }
        Some(HttpLimits {
            connections: self.max_connections.value?,
            head_timeout: self.head_timeout.value?,
            head_bytes: usize::try_from(head_bytes).ok()?,
            keep_alive: self.keep_alive_timeout.value?,
            body_timeout: self.body_timeout.value?,
            send_timeout: self.send_timeout.value?,
            read_timeout: self.read_timeout.value?,
            tunnel_idle: self.tunnel_idle_timeout.value?,
            connect_timeout: self.connect_timeout.value?,
            response_timeout: self.response_timeout.value?,
            max_held: self.max_held.value?,
        })
    }
}
