//! The values of values that say who may come in and who may wake.

use std::time::Duration;

use drowse_routes::{
    SimilarPaths,
    rules::{AgentGlob, Bots, PathGlob, Rate},
};

use super::{TEXT, choice, each, form, grants::is_header_name, text, word};
use crate::{
    read::{Reader, ValueParser},
    schema::Kind,
    tree::{Node, Value},
    units,
};

/// More wakes than this are no limit worth remembering.
const MOST: u32 = 1000;

form!(
    /// A path, or everything below one.
    PATH_GLOB: PathGlob, "path pattern", "a path such as \"/login\" or \"/app/*\"", path_glob
);
form!(
    /// Paths.
    PATH_GLOBS: Vec<PathGlob>,
    "list of path patterns",
    "a list of paths such as [\"/login\", \"/app/*\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, PATH_GLOBS.kind) };
        each(items, |item| path_glob(r, item))
    }
);
form!(
    /// A user agent.
    AGENT_GLOB: AgentGlob, "text pattern", "a user agent such as \"curl/*\"", agent_glob
);
form!(
    /// User agents.
    AGENT_GLOBS: Vec<AgentGlob>,
    "list of text patterns",
    "a list of user agents such as [\"curl/*\", \"*bot*\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, AGENT_GLOBS.kind) };
        each(items, |item| agent_glob(r, item))
    }
);
form!(
    /// HTTP methods.
    METHODS: Vec<String>,
    "list of methods",
    "a list of methods such as [\"GET\", \"HEAD\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, METHODS.kind) };
        each(items, |item| {
            let method = text(r, item, TEXT.kind)?;
            if method.bytes().all(|c| c.is_ascii_uppercase() || c == b'-') {
                return Some(method);
            }
            r.refuse(item, "a method is written in capital letters, such as \"GET\"")
        })
    }
);
form!(
    /// The status of an answer.
    STATUS: u16, "status", "a status from 200 to 599", |r, node| match node.value {
        Value::Integer(status @ 200..=599) => u16::try_from(status).ok(),
        _ => r.mismatch(node, STATUS.kind),
    }
);
form!(
    /// So many in a stretch of time.
    RATE: Rate, "rate", "a rate such as \"10/1h\" or \"3/10m\"", |r, node| {
        let text = text(r, node, RATE.kind)?;
        match rate(&text) {
            Ok(rate) => Some(rate),
            Err(why) => {
                let text = text.escape_debug();
                r.refuse(node, format!("\"{text}\" is not a rate such as \"10/1h\": {why}"))
            }
        }
    }
);
form!(
    /// A header's name, in lower case.
    HEADER: String, "header", "a header's name such as \"Remote-User\"", header
);
form!(
    /// Names of headers, in lower case.
    HEADER_NAMES: Vec<String>,
    "list of headers",
    "a list of headers such as [\"Remote-User\", \"Remote-Groups\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, HEADER_NAMES.kind) };
        each(items, |item| header(r, item))
    }
);
choice!(
    /// What is done with paths that resemble a protected one.
    SIMILAR_PATHS: SimilarPaths {
        "refuse" => SimilarPaths::Refuse, "allow" => SimilarPaths::Allow
    }
);
choice!(
    /// What bots do.
    BOTS: Bots { "wake" => Bots::Wake, "ignore" => Bots::Ignore }
);

fn path_glob(r: &mut Reader, node: &Node) -> Option<PathGlob> {
    let text = text(r, node, TEXT.kind)?;
    PathGlob::parse(&text).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}

fn agent_glob(r: &mut Reader, node: &Node) -> Option<AgentGlob> {
    let text = text(r, node, TEXT.kind)?;
    AgentGlob::parse(&text).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}

fn rate(text: &str) -> Result<Rate, String> {
    let (count, per) = text.split_once('/').ok_or("write how many, `/`, in how long")?;
    let count = count.trim().parse().ok().filter(|count| (1..=MOST).contains(count));
    let count = count.ok_or_else(|| format!("the number must be from 1 to {MOST}"))?;
    match units::duration(per)? {
        Duration::ZERO => Err("a duration of nothing".to_owned()),
        per => Ok(Rate { count, per }),
    }
}

/// A header that says something about the request. What frames the message or names its host is
/// the router's to say.
fn header(r: &mut Reader, node: &Node) -> Option<String> {
    let name = text(r, node, TEXT.kind)?.to_ascii_lowercase();
    let ours = [
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    if ours.contains(&name.as_str()) {
        return r.refuse(node, format!("`{name}` is the router's own to set; name another header"));
    }
    if !is_header_name(&name) {
        return r.refuse(node, "this cannot be the name of a header");
    }
    Some(name)
}
