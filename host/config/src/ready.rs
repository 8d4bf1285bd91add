//! `[workload.NAME.ready]`

use std::ops::RangeInclusive;

use drowse_core::ReadyCheck;

use crate::{
    read::{Reader, Section},
    source::Span,
    values::{COMMAND_INSIDE, FLAG, PORT, STATUSES, TEXT},
};

/// When a workload is ready, perhaps without a port.
pub(crate) enum Ready {
    /// By what leads to it.
    Usual,
    /// By something that has no port.
    Without(ReadyCheck),
    /// By something that has one, which the first route may name.
    At { port: Option<u16>, span: Span, check: Check },
}

/// A check at a port.
pub(crate) enum Check {
    Tcp,
    Minecraft,
    Http(Request),
}

/// A request and what its answer must be.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: Option<RangeInclusive<u16>>,
    pub(crate) host: Option<String>,
    pub(crate) header: Option<(String, Option<String>)>,
}

const KINDS: [&str; 7] = ["http", "tcp", "health", "minecraft", "exec", "completed", "started"];
const FLAGS: [&str; 5] = ["tcp", "health", "minecraft", "completed", "started"];

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
    /// A plain one.
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

pub(crate) fn read(r: &mut Reader, workload: &Section<'_>) -> Option<Ready> {
    if !workload.has("ready") {
        return Some(Ready::Usual);
    }
    let section = workload.table(r, "ready")?;
    let span = section.span;
    let http = section.find(r, "http", &TEXT);
    let exec = section.find(r, "exec", &COMMAND_INSIDE);
    let port = section.find(r, "port", &PORT);
    for key in FLAGS {
        if section.find(r, key, &FLAG).flatten() == Some(false) {
            r.report(section.span_of(key), format!("`{key}` is only ever true; take it out"));
            return None;
        }
    }
    let kinds: Vec<_> = KINDS.into_iter().filter(|key| section.has(key)).collect();
    let [kind] = kinds.as_slice() else {
        let kinds: Vec<_> = KINDS.iter().map(|kind| format!("`{kind}`")).collect();
        r.report(span, format!("`ready` takes exactly one of {}", kinds.join(", ")));
        return None;
    };
    let unfit: &[&str] = match *kind {
        "http" => &[],
        "tcp" | "minecraft" => &["method", "status", "host", "header"],
        _ => &["port", "method", "status", "host", "header"],
    };
    for key in unfit.iter().filter(|key| section.has(key)) {
        r.report(section.span_of(key), format!("`{key}` has no meaning with `{kind}`"));
    }
    Some(match *kind {
        "started" => Ready::Without(ReadyCheck::Started),
        "health" => Ready::Without(ReadyCheck::Health),
        "completed" => Ready::Without(ReadyCheck::Completed),
        "exec" => Ready::Without(ReadyCheck::Exec { command: exec?? }),
        "tcp" => Ready::At { port: port?, span, check: Check::Tcp },
        "minecraft" => Ready::At { port: port?, span, check: Check::Minecraft },
        _ => {
            let request = request(r, &section, &http??);
            Ready::At { port: port?, span, check: Check::Http(request?) }
        }
    })
}

/// A path as `http` takes it.
pub(crate) fn is_path(r: &mut Reader, span: Span, path: &str) -> bool {
    let fits = path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c == '#');
    if !fits {
        r.report(span, "`http` takes a path that begins with `/`, such as \"/health\"");
    }
    fits
}

fn request(r: &mut Reader, section: &Section<'_>, path: &str) -> Option<Request> {
    let method = section.find(r, "method", &TEXT);
    let status = section.find(r, "status", &STATUSES);
    let host = section.find(r, "host", &TEXT);
    let header = section.find(r, "header", &TEXT);
    let mut whole = is_path(r, section.span_of("http"), path);
    let mut fits = |r: &mut Reader, key: &str, fits: bool, message: &str| {
        if !fits {
            r.report(section.span_of(key), message);
            whole = false;
        }
    };
    if let Some(Some(method)) = &method {
        let capital = method.bytes().all(|c| c.is_ascii_uppercase());
        fits(r, "method", capital, "`method` is written in capital letters, such as \"GET\"");
    }
    if let Some(Some(host)) = &host {
        let graphic = host.chars().all(|c| c.is_ascii_graphic());
        fits(r, "host", graphic, "this cannot be the name of a host");
    }
    let header = header.map(|header| {
        header.map(|text| match text.split_once(':') {
            Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
            None => (text.trim().to_owned(), None),
        })
    });
    if let Some(Some((name, _))) = &header {
        let message = "`header` is a name or `name: value`, such as \"X-Ready: yes\"";
        fits(r, "header", crate::values::is_header_name(name), message);
    }
    let method = method?.unwrap_or_else(|| "GET".to_owned());
    let request =
        Request { method, path: path.to_owned(), status: status?, host: host?, header: header? };
    whole.then_some(request)
}
