//! The words that host and provider share, with what makes them pleasant to write.

use std::{collections::VecDeque, time::Duration};

pub use crate::bindings::drowse::provider::types::{
    Address, Attribute, CommandWish, EndpointWish, Event, Exit, Health, NetworkWish, Observation,
    Page, RecreateOptions, RemoveOptions, ResourceUsage as Usage, Status, StopOptions,
};

/// An [`Exit`] has at most so many lines.
pub const EXIT_LINES: usize = 100;

/// A line of an [`Exit`] has at most so many bytes.
pub const EXIT_LINE_BYTES: usize = 4 << 10;

/// The first value of this name.
pub(crate) fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.name == name).map(|a| a.value.as_str())
}

// === impl Attribute ===

impl Attribute {
    /// One name and value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

// === impl Observation ===

impl Observation {
    /// What is known at the least: the handle, the status, and the platform's own word for it.
    pub fn new(
        handle: impl Into<String>,
        status: Status,
        native_status: impl Into<String>,
    ) -> Self {
        Self {
            handle: handle.into(),
            status,
            native_status: native_status.into(),
            native_id: None,
            health: Health::None,
            addresses: Vec::new(),
            labels: Vec::new(),
            detail: None,
            attributes: Vec::new(),
        }
    }

    /// The platform knows no such target.
    pub fn missing(handle: impl Into<String>) -> Self {
        Self::new(handle, Status::Missing, "missing")
    }

    /// The platform's identity of this incarnation.
    #[must_use]
    pub fn with_native_id(mut self, id: impl Into<String>) -> Self {
        self.native_id = Some(id.into());
        self
    }

    /// The platform's own verdict.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// One more way to reach it, after those it has.
    #[must_use]
    pub fn with_address(mut self, address: Address) -> Self {
        self.addresses.push(address);
        self
    }

    /// One more label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Attribute::new(name, value));
        self
    }

    /// One sentence for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One more fact: `exit-status`, `started-at`, `memory-bytes`, `image`.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The fact of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// The label of this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        find(&self.labels, name)
    }
}

// === impl Address ===

impl Address {
    /// Every port of the target can be reached at this host.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), port: None, target_port: None, attributes: Vec::new() }
    }

    /// Only this port can be reached.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The port is the target's only one, whatever a route calls it.
    #[must_use]
    pub fn for_any_port(self) -> Self {
        self.with_target_port(0)
    }

    /// The port leads to this port of the target.
    #[must_use]
    pub fn with_target_port(mut self, port: u16) -> Self {
        self.target_port = Some(port);
        self
    }

    /// One more fact, for instance `network` and `backend`.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// Reads `host:port`, with an IPv6 address in brackets. None if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => host.to_owned(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let named = !host.is_empty() && host.chars().all(plain);
        let bracketed = text.starts_with('[') || !host.contains(':');
        (named && bracketed).then(|| Self::new(host).with_port(port))
    }
}

// === impl StopOptions ===

impl StopOptions {
    /// Asks in the platform's usual way and gives it this long.
    pub fn new(grace: Duration) -> Self {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        Self { signal: None, grace_ms, attributes: Vec::new() }
    }

    /// Asks with this signal.
    #[must_use]
    pub fn with_signal(mut self, signal: impl Into<String>) -> Self {
        self.signal = Some(signal.into());
        self
    }

    /// The time the target has to stop by itself before it is killed.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

// === impl Exit ===

impl Exit {
    /// How a command ended and what it wrote; the last [`EXIT_LINES`] lines are kept, each cut at
    /// [`EXIT_LINE_BYTES`].
    pub fn new<L: Into<String>>(status: i32, output: impl IntoIterator<Item = L>) -> Self {
        let mut last = VecDeque::with_capacity(EXIT_LINES);
        for line in output {
            if last.len() == EXIT_LINES {
                last.pop_front();
            }
            let mut line = line.into();
            line.truncate(line.floor_char_boundary(EXIT_LINE_BYTES));
            last.push_back(line);
        }
        Self { status, output: last.into(), attributes: Vec::new() }
    }
}

// === impl Usage ===

impl Usage {
    /// What a target uses that does not run.
    pub fn nothing() -> Self {
        Self { cpu_percent: Some(0.0), memory: Some(0), attributes: Vec::new() }
    }

    /// What a target uses that runs, or is paused, where the platform does not tell.
    pub fn unknown() -> Self {
        Self { cpu_percent: None, memory: None, attributes: Vec::new() }
    }
}

impl PartialEq for Usage {
    fn eq(&self, other: &Self) -> bool {
        let Self { cpu_percent, memory, attributes } = self;
        *cpu_percent == other.cpu_percent
            && *memory == other.memory
            && *attributes == other.attributes
    }
}

// === impl Page ===

impl Page {
    /// The last page.
    pub fn last(observations: Vec<Observation>) -> Self {
        Self { observations, next: None }
    }
}

// === impl EndpointWish ===

impl EndpointWish {
    /// A wish without which the provider cannot work.
    pub fn new(name: impl Into<String>, purpose: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            purpose: purpose.into(),
            suggested_url: None,
            rules: Vec::new(),
            optional: false,
            attributes: Vec::new(),
        }
    }

    /// A usual place, for instance `unix:///var/run/docker.sock`; `udp://255.255.255.255:9` for
    /// [datagrams](crate::udp).
    #[must_use]
    pub fn suggested_url(mut self, url: impl Into<String>) -> Self {
        self.suggested_url = Some(url.into());
        self
    }

    /// What the provider needs, `METHOD /path`: a segment `*` is any one segment, a final `**`
    /// any rest. `METHOD /path?all=1&limit=*` allows these keys of a query with these values, `?*` any
    /// query; without `?` there may be none. For [gRPC](crate::grpc) `/package.Service/Method` or `/package.Service/*`.
    #[must_use]
    pub fn rules<R: Into<String>>(mut self, rules: impl IntoIterator<Item = R>) -> Self {
        self.rules.extend(rules.into_iter().map(Into::into));
        self
    }

    /// These settings of the provider say what it sends: the [`rules`](Self::rules) are for what holds
    /// when nobody writes them. Who writes them grants others, and `drowse check` does not miss these.
    #[must_use]
    pub fn rules_follow<'a>(mut self, settings: impl IntoIterator<Item = &'a str>) -> Self {
        let settings: Vec<_> = settings.into_iter().collect();
        self.attributes.push(Attribute::new("rules-follow", settings.join(" ")));
        self
    }

    /// The provider works without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// It is for datagrams, by its usual place; else for HTTP.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wants_datagrams(&self) -> bool {
        self.suggested_url.as_deref().is_some_and(|url| url.starts_with("udp://"))
    }
}

// === impl CommandWish ===

impl CommandWish {
    /// A wish without which the provider cannot work. The name is `*` when the operator chooses
    /// the names.
    pub fn new(name: impl Into<String>, purpose: impl Into<String>) -> Self {
        let (name, purpose) = (name.into(), purpose.into());
        Self { name, purpose, optional: false, attributes: Vec::new() }
    }

    /// The provider works without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

// === impl NetworkWish ===

impl NetworkWish {
    /// A wish without which the provider cannot work. The name is `*` when the operator chooses
    /// the names.
    pub fn new(name: impl Into<String>, purpose: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            purpose: purpose.into(),
            optional: false,
            setting: None,
            attributes: Vec::new(),
        }
    }

    /// The provider works without it, as long as no setting names one.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The setting of the provider or of a target that names the network. Who names one that is
    /// not granted is told so by `drowse check`.
    #[must_use]
    pub fn named_by(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }
}

#[cfg(test)]
mod tests;
