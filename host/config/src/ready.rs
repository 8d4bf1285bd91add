//! `[workload.NAME.ready]`

use std::ops::RangeInclusive;

use drowse_core::ReadyCheck;

use crate::{
    read::Reader,
    schema::table,
    source::Span,
    values::{CommandInside, Flag, Port, Statuses, Text, is_header_name},
};

table! {
    /// When a workload is ready for requests: exactly one of `http`, `tcp`, `health`, `minecraft`,
    /// `exec`, `completed` and `started`. A web server often accepts connections long before it answers
    /// requests, so `tcp` is not enough for one.
    pub(crate) struct ReadyTable("[workload.NAME.ready]") {
        /// Path of a request that must be answered.
        http: Text, otherwise "no such check";
        /// A connection must be accepted.
        tcp: Flag, otherwise "no such check";
        /// The platform's own health check must pass, such as a container's `HEALTHCHECK`.
        health: Flag, otherwise "no such check";
        /// A Minecraft server (Java edition) must answer a status request.
        minecraft: Flag, otherwise "no such check";
        /// A command, run inside the workload by its provider, must end with exit status 0.
        exec: CommandInside, otherwise "no such check";
        /// The workload is a job: it must run and end with exit status 0. For what others need, such as a
        /// migration; no route can lead to it.
        completed: Flag, otherwise "no such check";
        /// The provider must report that the workload runs.
        started: Flag, otherwise "no such check";
        /// The workload's own port to check. For `http`, `tcp` and `minecraft`.
        port: Port, otherwise "the port of the first route to the workload";
        /// Method of the request. For `http`.
        method: Text, otherwise "`GET`";
        /// Statuses that count as ready. For `http`.
        status: Statuses, otherwise "any but 502, 503 and 504";
        /// `Host` header of the request. For `http`.
        host: Text, otherwise "its address";
        /// A header that the response must have, `X-Ready`, or have with this value, `X-Ready: yes`. For
        /// `http`.
        header: Text, otherwise "none";
    }
}

/// When a workload is ready, before its port is known.
pub(crate) enum Ready {
    /// Depends on whether a route leads to it.
    Default,
    /// A check without a port.
    Without(ReadyCheck),
    /// A check at a port, which the first route may name.
    At { port: Option<u16>, span: Span, check: Check },
}

/// A check at a port.
pub(crate) enum Check {
    Tcp,
    Minecraft,
    Http(Request),
}

/// A request and the required response.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: Option<RangeInclusive<u16>>,
    pub(crate) host: Option<String>,
    pub(crate) header: Option<(String, Option<String>)>,
}

// === impl Check ===

impl Check {
    /// The check at this port.
    pub(crate) fn at(self, port: u16) -> ReadyCheck {
        match self {
            Self::Tcp => ReadyCheck::Tcp { port },
            Self::Minecraft => ReadyCheck::Minecraft { port },
            Self::Http(Request { method, path, status, host, header }) => {
                ReadyCheck::Http { port, method, path, status, host, header }
            }
        }
    }
}

// === impl Request ===

impl Request {
    /// A GET request for which every status but 502, 503 and 504 counts.
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: None,
            host: None,
            header: None,
        }
    }
}

// === impl ReadyTable ===

impl ReadyTable {
    pub(crate) fn settings(self, r: &mut Reader) -> Option<Ready> {
        let span = self.heading.span;
        for flag in [&self.tcp, &self.health, &self.minecraft, &self.completed, &self.started] {
            if flag.value == Some(Some(false)) {
                let message = format!("`{}` is only ever true; take it out", flag.mark.key);
                r.report(flag.mark.span, message);
                return None;
            }
        }
        let all = [
            self.http.mark,
            self.tcp.mark,
            self.health.mark,
            self.minecraft.mark,
            self.exec.mark,
            self.completed.mark,
            self.started.mark,
        ];
        let written: Vec<_> = all.iter().filter(|mark| mark.written).map(|mark| mark.key).collect();
        let [kind] = written.as_slice() else {
            let all: Vec<_> = all.iter().map(|mark| format!("`{}`", mark.key)).collect();
            r.report(span, format!("`ready` takes exactly one of {}", all.join(", ")));
            return None;
        };
        let of_http = [self.method.mark, self.status.mark, self.host.mark, self.header.mark];
        let of_port = [self.port.mark];
        let (of_port, of_http): (&[_], &[_]) = match *kind {
            "http" => (&[], &[]),
            "tcp" | "minecraft" => (&[], &of_http),
            _ => (&of_port, &of_http),
        };
        for mark in of_port.iter().chain(of_http).filter(|mark| mark.written) {
            r.report(mark.span, format!("`{}` has no meaning with `{kind}`", mark.key));
        }
        Some(match *kind {
            "started" => Ready::Without(ReadyCheck::Started),
            "health" => Ready::Without(ReadyCheck::Health),
            "completed" => Ready::Without(ReadyCheck::Completed),
            "exec" => Ready::Without(ReadyCheck::Exec { command: self.exec.value?? }),
            "tcp" => Ready::At { port: self.port.value?, span, check: Check::Tcp },
            "minecraft" => Ready::At { port: self.port.value?, span, check: Check::Minecraft },
            _ => {
                let port = self.port.value;
                Ready::At { check: Check::Http(self.request(r)?), port: port?, span }
            }
        })
    }

    fn request(self, r: &mut Reader) -> Option<Request> {
        let path = self.http.value??;
        let mut valid = is_path(r, self.http.mark.span, &path);
        let mut check = |span, is_valid: bool, message: &str| {
            if !is_valid {
                r.report(span, message);
                valid = false;
            }
        };
        if let Some(Some(method)) = &self.method.value {
            let capital = method.bytes().all(|c| c.is_ascii_uppercase());
            let message = "`method` is written in capital letters, such as \"GET\"";
            check(self.method.mark.span, capital, message);
        }
        if let Some(Some(host)) = &self.host.value {
            let graphic = host.chars().all(|c| c.is_ascii_graphic());
            check(self.host.mark.span, graphic, "this is not a valid host name");
        }
        let header = self.header.value.map(|header| {
            header.map(|text| match text.split_once(':') {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
                None => (text.trim().to_owned(), None),
            })
        });
        if let Some(Some((name, _))) = &header {
            let message = "`header` is a name or `name: value`, such as \"X-Ready: yes\"";
            check(self.header.mark.span, is_header_name(name), message);
        }
        let request = Request {
            method: self.method.value?.unwrap_or_else(|| "GET".to_owned()),
            path,
            status: self.status.value?,
            host: self.host.value?,
            header: header?,
        };
        valid.then_some(request)
    }
}

/// Whether `http` can be this path. Reports an error if not.
pub(crate) fn is_path(r: &mut Reader, span: Span, path: &str) -> bool {
    let is_valid = path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c == '#');
    if !is_valid {
        r.report(span, "`http` takes a path that begins with `/`, such as \"/health\"");
    }
    is_valid
}
