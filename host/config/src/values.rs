//! The types that single values have: texts, numbers, durations, sizes, addresses, words.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use drowse_core::{Ability, SleepMethod};
use drowse_proxy::settings::Protocol;
use drowse_routes::Waiting;
use ipnet::IpNet;

use crate::{
    read::{Reader, ValueParser},
    schema::{Kind, nearest},
    tree::{Node, Value},
    units,
};

mod access;
mod grants;
mod lifecycle;

pub(crate) use access::{
    AgentPattern, AgentPatterns, BotPolicy, HeaderName, HeaderNames, Methods, PathPattern,
    PathPatterns, RateLimit, SimilarPathsPolicy, Status,
};
pub(crate) use grants::{
    AddressRules, CommandInside, Fingerprints, Headers, Program, PublicKeys, RestartPolicy, Rules,
    Variables, is_header_name,
};
pub(crate) use lifecycle::{
    AdoptPolicy, Needs, Percent, PoolReference, Priority, Schedules, Windows,
};

/// Declares a type of value: its name in the reference, the description of it in an error, and its
/// parser.
macro_rules! value {
    (
        $(#[doc = $doc:literal])*
        $name:ident: $type:ty, $word:literal, $expected:literal, $parse:expr
    ) => {
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl ValueParser for $name {
            type Value = $type;
            const KIND: Kind = Kind::Value { word: $word, expected: $expected };

            fn parse(r: &mut Reader, node: &Node) -> Option<$type> {
                let parse: fn(&mut Reader, &Node) -> Option<$type> = $parse;
                parse(r, node)
            }
        }
    };
}
use value;

/// Declares a type of value that is one of a few words.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $name:ident: $type:ty { $($word:literal => $value:expr),+ $(,)? }
    ) => {
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl ValueParser for $name {
            type Value = $type;
            const KIND: Kind = Kind::Choice(&[$($word),+]);

            fn parse(r: &mut Reader, node: &Node) -> Option<$type> {
                match word(r, node, &[$($word),+])? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}
use choice;

value!(
    /// A text that is not empty.
    Text: String, "text", "a text in quotes", |r, node| text(r, node, Text::KIND)
);
value!(
    /// A URL. Its parts are checked where it is used.
    UrlText: String, "URL", "a URL in quotes", |r, node| text(r, node, UrlText::KIND)
);
value!(
    /// A boolean.
    Flag: bool, "true or false", "true or false", |r, node| match node.value {
        Value::Flag(flag) => Some(flag),
        _ => r.mismatch(node, Flag::KIND),
    }
);
value!(
    /// A positive number.
    Count: usize, "number", "a whole number from 1 to 1000000", |r, node| {
        integer(r, node, 1..=1_000_000, Count::KIND)
    }
);
value!(
    /// A number of lines, which may be zero.
    LineCount: u32, "number", "a whole number from 0 to 100", |r, node| {
        integer(r, node, 0..=100, LineCount::KIND)
    }
);
value!(
    /// A TCP port.
    Port: u16, "port", "a port from 1 to 65535", |r, node| {
        integer(r, node, 1..=65_535, Port::KIND)
    }
);
value!(
    /// A duration greater than zero.
    DurationText: Duration, "duration", "a duration such as \"10m\", \"1h30m\" or \"500ms\"", duration
);
value!(
    /// A duration, or never.
    DurationOrNever: Option<Duration>,
    "duration or `never`",
    "a duration such as \"10m\", or \"never\"",
    |r, node| match &node.value {
        Value::Text(text) if text == "never" => Some(None),
        Value::Text(_) => duration(r, node).map(Some),
        Value::Integer(_) => r.mismatch(node, DurationText::KIND),
        _ => r.mismatch(node, DurationOrNever::KIND),
    }
);
value!(
    /// A size in bytes, at least one.
    Size: u64, "size", "a size such as \"64MiB\" or \"16MB\"", |r, node| match &node.value {
        Value::Text(text) => match units::size(text) {
            Ok(0) => r.refuse(node, "must be greater than zero, for example 64MiB"),
            Ok(bytes) => Some(bytes),
            Err(why) => r.refuse(node, format!("\"{text}\" is not a size: {why}")),
        },
        _ => r.mismatch(node, Size::KIND),
    }
);
value!(
    /// A path. A relative one is relative to the directory of its file.
    FilePath: PathBuf, "path", "a path in quotes", |r, node| {
        let path = text(r, node, FilePath::KIND)?;
        Some(r.directory(node.span).join(path))
    }
);
value!(
    /// Paths, at least one.
    FilePaths: Vec<PathBuf>, "list of paths", "a list of paths such as [\"/opt/cni/bin\"]", |r, node| {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                r.refuse(node, "the list is empty; name a directory")
            }
            Value::List(items) => each(items, |item| FilePath::parse(r, item)),
            _ => r.mismatch(node, FilePaths::KIND),
        }
    }
);
value!(
    /// An address to bind.
    BindAddress: SocketAddr,
    "address",
    "an address with a port such as \"0.0.0.0:8080\" or \"[::]:8080\"",
    |r, node| {
        let text = text(r, node, BindAddress::KIND)?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let port = text.rsplit_once(':').map_or("8080", |(_, port)| port);
        let port: u16 = port.parse().unwrap_or(8080);
        r.refuse(
            node,
            format!(
                "\"{}\" is not an address with a port; write \"0.0.0.0:{port}\" for every \
                 network, \"127.0.0.1:{port}\" for this machine only",
                text.escape_debug()
            ),
        )
    }
);
value!(
    /// Networks or addresses.
    Networks: Vec<IpNet>,
    "list of networks",
    "a list of networks such as [\"10.0.0.0/8\", \"127.0.0.1\"]",
    |r, node| {
        list(r, node, Networks::KIND, |r, item| {
            let text = text(r, item, Text::KIND)?;
            let network = text.parse().ok();
            network.or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?))).or_else(
                || {
                    let text = text.escape_debug();
                    r.refuse(item, format!("\"{text}\" is not a network such as \"10.0.0.0/8\""))
                },
            )
        })
    }
);
value!(
    /// Texts.
    Texts: Vec<String>, "list of texts", "a list of texts such as [\"a\", \"b\"]", |r, node| {
        list(r, node, Texts::KIND, |r, item| text(r, item, Text::KIND))
    }
);
value!(
    /// Abilities of providers.
    Abilities: Vec<Ability>,
    "list of abilities",
    "a list of abilities such as [\"pause\", \"exec\"]",
    |r, node| {
        list(r, node, Abilities::KIND, |r, item| {
            let word = text(r, item, Text::KIND)?;
            let ability = serde_json::from_value(word.as_str().into());
            ability.map_or_else(
                |_| {
                    let word = word.escape_debug();
                    r.refuse(item, format!("\"{word}\" is no ability; `drowse plugin inspect` \
                                            shows those of a plugin"))
                },
                Some,
            )
        })
    }
);
value!(
    /// One status, or a range of them.
    Statuses: RangeInclusive<u16>,
    "status or range",
    "a status such as 200 or a range such as \"200-399\"",
    statuses
);
value!(
    /// A table that is passed to a plugin unchanged.
    Json: serde_json::Value, "table", "a table", |r, node| match node.value {
        Value::Table(_) => json(r, node),
        _ => r.mismatch(node, Json::KIND),
    }
);
choice!(
    /// The protocol of a listener.
    ProtocolName: Protocol { "http" => Protocol::Http }
);
choice!(
    /// The response to a visitor while a workload wakes.
    WaitingMode: Waiting {
        "auto" => Waiting::Auto,
        "page" => Waiting::Page,
        "hold" => Waiting::Hold,
        "reject" => Waiting::Reject,
    }
);
choice!(
    /// How a workload is put to sleep.
    Method: SleepMethod {
        "stop" => SleepMethod::Stop,
        "pause" => SleepMethod::Pause,
        "kill" => SleepMethod::Kill,
    }
);

choice!(
    /// How a light sleep becomes a deeper one.
    DeepMethod: SleepMethod {
        "stop" => SleepMethod::Stop,
        "kill" => SleepMethod::Kill,
    }
);

/// Parses the items of a list, or reports that the value is none.
fn list<T>(
    r: &mut Reader,
    node: &Node,
    kind: Kind,
    mut item: impl FnMut(&mut Reader, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.value {
        Value::List(items) => each(items, |node| item(r, node)),
        _ => r.mismatch(node, kind),
    }
}

/// Parses every item, so that every error is reported; `None` if there was one.
fn each<'n, T>(items: &'n [Node], read: impl FnMut(&'n Node) -> Option<T>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = items.iter().map(read).collect();
    read.into_iter().collect()
}

/// A text that is not empty; an error names `kind` as what was expected.
/// A whole number in a range.
fn integer<T: TryFrom<i128>>(
    r: &mut Reader,
    node: &Node,
    range: RangeInclusive<i128>,
    kind: Kind,
) -> Option<T> {
    match node.value {
        Value::Integer(number) if range.contains(&number) => T::try_from(number).ok(),
        _ => r.mismatch(node, kind),
    }
}

fn text(r: &mut Reader, node: &Node, kind: Kind) -> Option<String> {
    match &node.value {
        Value::Text(text) if text.trim().is_empty() => r.refuse(node, "the text is empty"),
        Value::Text(text) if text.contains('\0') => r.refuse(node, "the text holds a NUL"),
        Value::Text(text) => Some(text.clone()),
        _ => r.mismatch(node, kind),
    }
}

fn duration(r: &mut Reader, node: &Node) -> Option<Duration> {
    let Value::Text(text) = &node.value else { return r.mismatch(node, DurationText::KIND) };
    match units::duration(text) {
        Ok(Duration::ZERO) => r.refuse(node, "must be greater than zero, for example 15s"),
        Ok(duration) => Some(duration),
        Err(why) => r.refuse(node, format!("\"{}\" is not a duration: {why}", text.escape_debug())),
    }
}

fn word<'w>(r: &mut Reader, node: &Node, words: &'static [&'w str]) -> Option<&'w str> {
    let Value::Text(text) = &node.value else { return r.mismatch(node, Kind::Choice(words)) };
    if let Some(word) = words.iter().find(|word| *word == text) {
        return Some(word);
    }
    let hint = nearest(text, words.iter().copied())
        .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    let expected = Kind::Choice(words).expected();
    r.refuse(node, format!("expected {expected}, found {}{hint}", crate::read::found(node)))
}

fn statuses(r: &mut Reader, node: &Node) -> Option<RangeInclusive<u16>> {
    let range = match &node.value {
        Value::Integer(status) => u16::try_from(*status).ok().map(|status| status..=status),
        Value::Text(text) => {
            let (from, until) = text.split_once('-').unwrap_or((text, text));
            from.trim()
                .parse()
                .ok()
                .zip(until.trim().parse().ok())
                .map(|(from, until)| from..=until)
        }
        _ => None,
    };
    let fits = |range: &RangeInclusive<u16>| {
        !range.is_empty() && *range.start() >= 100 && *range.end() <= 599
    };
    match range.filter(fits) {
        Some(range) => Some(range),
        None => r.mismatch(node, Statuses::KIND),
    }
}

fn json(r: &mut Reader, node: &Node) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Date(date) => date.as_str().into(),
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => return r.refuse(node, "the number is too large"),
        },
        Value::Float(number) => {
            let number = number.parse().ok().and_then(serde_json::Number::from_f64);
            match number {
                Some(number) => number.into(),
                None => return r.refuse(node, "the number cannot be passed on"),
            }
        }
        Value::List(items) => each(items, |item| json(r, item))?.into(),
        Value::Table(entries) => {
            let mut object = serde_json::Map::new();
            let mut whole = true;
            for (key, entry) in entries {
                match json(r, &entry.node) {
                    Some(value) => drop(object.insert(key.clone(), value)),
                    None => whole = false,
                }
            }
            return whole.then(|| object.into());
        }
    })
}
