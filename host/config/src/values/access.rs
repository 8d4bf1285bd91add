//! Types of values about authentication and about who may wake a workload.

use std::time::Duration;

use drowse_routes::{
    SimilarPaths,
    rules::{AgentGlob, Bots, PathGlob, Rate},
};

use super::{Text, choice, grants::is_header_name, list, text, value, word};
use crate::{
    read::{Reader, ValueParser},
    schema::Kind,
    tree::{Node, Value},
    units,
};

/// The highest number of wakes in a rate limit: the limiter keeps the time of each.
const MOST: u32 = 1000;

value!(
    /// A path, or everything below one.
    PathPattern: PathGlob, "path pattern", "a path such as \"/login\" or \"/app/*\"", path_glob
);
value!(
    /// Paths.
    PathPatterns: Vec<PathGlob>,
    "list of path patterns",
    "a list of paths such as [\"/login\", \"/app/*\"]",
    |r, node| {
        list(r, node, PathPatterns::KIND, path_glob)
    }
);
value!(
    /// A user agent.
    AgentPattern: AgentGlob, "text pattern", "a user agent such as \"curl/*\"", agent_glob
);
value!(
    /// User agents.
    AgentPatterns: Vec<AgentGlob>,
    "list of text patterns",
    "a list of user agents such as [\"curl/*\", \"*bot*\"]",
    |r, node| {
        list(r, node, AgentPatterns::KIND, agent_glob)
    }
);
value!(
    /// HTTP methods.
    Methods: Vec<String>,
    "list of methods",
    "a list of methods such as [\"GET\", \"HEAD\"]",
    |r, node| {
        list(r, node, Methods::KIND, |r, item| {
            let method = text(r, item, Text::KIND)?;
            if method.bytes().all(|c| c.is_ascii_uppercase() || c == b'-') {
                return Some(method);
            }
            r.refuse(item, "a method is written in capital letters, such as \"GET\"")
        })
    }
);
value!(
    /// The status of an answer.
    Status: u16, "status", "a status from 200 to 599", |r, node| match node.value {
        Value::Integer(status @ 200..=599) => u16::try_from(status).ok(),
        _ => r.mismatch(node, Status::KIND),
    }
);
value!(
    /// A number of wakes in a time.
    RateLimit: Rate, "rate", "a rate such as \"10/1h\" or \"3/10m\"", |r, node| {
        let text = text(r, node, RateLimit::KIND)?;
        match rate(&text) {
            Ok(rate) => Some(rate),
            Err(why) => {
                let text = text.escape_debug();
                r.refuse(node, format!("\"{text}\" is not a rate such as \"10/1h\": {why}"))
            }
        }
    }
);
value!(
    /// A header's name, in lower case.
    HeaderName: String, "header", "a header's name such as \"Remote-User\"", header
);
value!(
    /// Names of headers, in lower case.
    HeaderNames: Vec<String>,
    "list of headers",
    "a list of headers such as [\"Remote-User\", \"Remote-Groups\"]",
    |r, node| {
        list(r, node, HeaderNames::KIND, header)
    }
);
choice!(
    /// The treatment of paths that resemble a protected one.
    SimilarPathsPolicy: SimilarPaths {
        "refuse" => SimilarPaths::Refuse, "allow" => SimilarPaths::Allow
    }
);
choice!(
    /// The treatment of bots.
    BotPolicy: Bots { "wake" => Bots::Wake, "ignore" => Bots::Ignore }
);

fn path_glob(r: &mut Reader, node: &Node) -> Option<PathGlob> {
    let text = text(r, node, Text::KIND)?;
    PathGlob::parse(&text).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}

fn agent_glob(r: &mut Reader, node: &Node) -> Option<AgentGlob> {
    let text = text(r, node, Text::KIND)?;
    AgentGlob::parse(&text).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}

fn rate(text: &str) -> Result<Rate, String> {
    let (count, per) = text.split_once('/').ok_or("write how many, `/`, in how long")?;
    let count = count.trim().parse().ok().filter(|count| (1..=MOST).contains(count));
    let count = count.ok_or_else(|| format!("the number must be from 1 to {MOST}"))?;
    match units::duration(per)? {
        Duration::ZERO => Err("the duration must be greater than zero".to_owned()),
        per => Ok(Rate { count, per }),
    }
}

/// A header that describes the request. Those that frame the message or name its host are set by the
/// router.
fn header(r: &mut Reader, node: &Node) -> Option<String> {
    let name = text(r, node, Text::KIND)?.to_ascii_lowercase();
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
        return r
            .refuse(node, format!("`{name}` is set by the router itself; name another header"));
    }
    if !is_header_name(&name) {
        return r.refuse(node, "this cannot be the name of a header");
    }
    Some(name)
}
