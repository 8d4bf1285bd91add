//! Configuration of a guest: network cards, configured addresses, and notes.

use std::{collections::BTreeMap, net::IpAddr};

use drowse_provider_sdk::Attribute;
use serde_json::Value;

use crate::handle::Kind;

/// Prefix of description lines that are labels.
const LABEL: &str = "drowse.";

/// Configuration of one guest, by key.
#[derive(Debug)]
pub(crate) struct Config {
    kind: Kind,
    values: BTreeMap<String, Value>,
}

// === impl Config ===

impl Config {
    pub(crate) fn new(kind: Kind, values: BTreeMap<String, Value>) -> Self {
        Self { kind, values }
    }

    /// Whether a virtual machine has a guest agent: `1`, or `enabled=1,…`, in any spelling of yes.
    pub(crate) fn has_agent(&self) -> bool {
        match self.values.get("agent") {
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            Some(Value::String(text)) => {
                let enabled = |part: &str| part.strip_prefix("enabled=").unwrap_or(part).to_owned();
                let yes = |part| matches!(enabled(part).as_str(), "1" | "on" | "yes" | "true");
                text.split(',').any(yes)
            }
            _ => false,
        }
    }

    /// MAC addresses of the network cards in order, in lower case.
    pub(crate) fn macs(&self) -> Vec<String> {
        self.numbered("net").filter_map(mac).map(str::to_ascii_lowercase).collect()
    }

    /// Configured addresses, card by card: those of a container's cards, and those that cloud-init
    /// assigns to a virtual machine.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let prefix = match self.kind {
            Kind::Lxc => "net",
            Kind::Qemu => "ipconfig",
        };
        let mut found = Vec::new();
        for card in self.numbered(prefix) {
            for wanted in ["ip", "ip6"] {
                let configured = pairs(card).find(|(key, _)| *key == wanted);
                // `dhcp`, `manual` and `auto` are no addresses.
                found.extend(configured.and_then(|(_, value)| without_prefix(value)));
            }
        }
        found
    }

    /// Labels: tags, and the lines `drowse.KEY=VALUE` of the description.
    pub(crate) fn labels(&self) -> Vec<Attribute> {
        let mut labels = tags(self.text("tags").unwrap_or_default());
        labels.extend(labels_of(self.description()));
        labels
    }

    /// The guest's notes.
    pub(crate) fn description(&self) -> &str {
        self.text("description").unwrap_or_default()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(Value::as_str)
    }

    /// The values of `net0`, `net1` and so on.
    fn numbered<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let number = |key: &str| key.strip_prefix(prefix)?.parse::<u8>().ok();
        let mut found: Vec<(u8, &str)> = Vec::new();
        for (key, value) in &self.values {
            found.extend(number(key).zip(value.as_str()));
        }
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, value)| value)
    }
}

/// A tag `web` becomes a label `tag.web` with an empty value.
pub(crate) fn tags(text: &str) -> Vec<Attribute> {
    let tags = text.split([';', ',', ' ']).filter(|tag| !tag.is_empty());
    tags.map(|tag| Attribute::new(format!("tag.{tag}"), "")).collect()
}

/// A line `drowse.KEY=VALUE` becomes a label; the first of two equal keys wins.
pub(crate) fn labels_of(text: &str) -> Vec<Attribute> {
    let mut labels: Vec<Attribute> = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once('=') else { continue };
        let name = name.trim_end();
        let key = name.strip_prefix(LABEL).unwrap_or_default();
        let letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !key.is_empty() && key.chars().all(letter) && labels.iter().all(|it| it.name != name) {
            labels.push(Attribute::new(name, value.trim_start()));
        }
    }
    labels
}

/// Parses the address of `10.0.0.5/24`.
pub(crate) fn without_prefix(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|part| part.trim().split_once('='))
}

/// LXC: `hwaddr=MAC`; QEMU: `virtio=MAC`, keyed by the card's model.
fn mac(card: &str) -> Option<&str> {
    pairs(card).map(|(_, value)| value).find(|value| is_mac(value))
}

fn is_mac(text: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(byte)
}
