//! Types that host and provider share, with constructors.

use std::{collections::VecDeque, time::Duration};

pub use crate::bindings::drowse::provider::types::{
    Address, Attribute, CommandWish, EndpointWish, Event, Exit, Health, NetworkWish, Observation,
    Page, RecreateOptions, RemoveOptions, ResourceUsage as Usage, Status, StopOptions,
};

/// Maximum lines of an [`Exit`].
pub const EXIT_LINES: usize = 100;

/// Maximum length of a line of an [`Exit`], in bytes.
pub const EXIT_LINE_BYTES: usize = 4 << 10;

/// The first value of this name.
pub(crate) fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.name == name).map(|a| a.value.as_str())
}

// === impl Attribute ===

impl Attribute {
    /// A name and a value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

// === impl Observation ===

impl Observation {
    /// An observation with the required data: handle, status, and the platform's native status.
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

    /// Observation of a target that does not exist on the platform.
    pub fn missing(handle: impl Into<String>) -> Self {
        Self::new(handle, Status::Missing, "missing")
    }

    /// Sets the platform's id of this instance.
    #[must_use]
    pub fn with_native_id(mut self, id: impl Into<String>) -> Self {
        self.native_id = Some(id.into());
        self
    }

    /// Sets the health that the platform reports.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Appends an address.
    #[must_use]
    pub fn with_address(mut self, address: Address) -> Self {
        self.addresses.push(address);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Attribute::new(name, value));
        self
    }

    /// Sets a description for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds an attribute: `exit-status`, `started-at`, `memory-bytes`, `image`.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The attribute of this name.
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
    /// An address on which every port of the target is reachable.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), port: None, target_port: None, attributes: Vec::new() }
    }

    /// Restricts the address to this port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The port is the target's only one and overrides the route's port.
    #[must_use]
    pub fn for_any_port(self) -> Self {
        self.with_target_port(0)
    }

    /// Maps the port to this port of the target.
    #[must_use]
    pub fn with_target_port(mut self, port: u16) -> Self {
        self.target_port = Some(port);
        self
    }

    /// Adds an attribute, such as `network` or `backend`.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// Parses `host:port`, with an IPv6 address in brackets. None for anything else.
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
    /// Stops with the platform's default signal and this grace time.
    pub fn new(grace: Duration) -> Self {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        Self { signal: None, grace_ms, attributes: Vec::new() }
    }

    /// Stops with this signal.
    #[must_use]
    pub fn with_signal(mut self, signal: impl Into<String>) -> Self {
        self.signal = Some(signal.into());
        self
    }

    /// Time for the target to stop before it is killed.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

// === impl Exit ===

impl Exit {
    /// Result of a command; keeps the last [`EXIT_LINES`] lines, each cut at [`EXIT_LINE_BYTES`].
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
    /// Usage of a target that does not run.
    pub fn nothing() -> Self {
        Self { cpu_percent: Some(0.0), memory: Some(0), attributes: Vec::new() }
    }

    /// Usage of a running or paused target for which the platform has no data.
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
    /// A required endpoint.
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

    /// Suggests a URL, such as `unix:///var/run/docker.sock`; `udp://255.255.255.255:9` for
    /// [datagrams](crate::udp).
    #[must_use]
    pub fn suggested_url(mut self, url: impl Into<String>) -> Self {
        self.suggested_url = Some(url.into());
        self
    }

    /// Requests these rules, `METHOD /path`: a segment `*` matches any one segment, a final `**`
    /// any rest. `METHOD /path?all=1&limit=*` allows these query keys with these values, `?*` any
    /// query; without `?` there must be none. For [gRPC](crate::grpc) `/package.Service/Method` or
    /// `/package.Service/*`.
    #[must_use]
    pub fn rules<R: Into<String>>(mut self, rules: impl IntoIterator<Item = R>) -> Self {
        self.rules.extend(rules.into_iter().map(Into::into));
        self
    }

    /// These settings of the provider determine its requests: the [`rules`](Self::rules) apply to
    /// the settings' defaults. An operator who sets them grants other rules, and `drowse check`
    /// does not require these.
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

    /// Returns whether it is for datagrams, by its suggested URL; otherwise it is for HTTP.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wants_datagrams(&self) -> bool {
        self.suggested_url.as_deref().is_some_and(|url| url.starts_with("udp://"))
    }
}

// === impl CommandWish ===

impl CommandWish {
    /// A required command. The name is `*` if the operator chooses the names.
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
    /// A required network. The name is `*` if the operator chooses the names.
    pub fn new(name: impl Into<String>, purpose: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            purpose: purpose.into(),
            optional: false,
            setting: None,
            attributes: Vec::new(),
        }
    }

    /// The provider works without it, unless a setting names one.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The setting of the provider or of a target that names the network. `drowse check` reports a
    /// named network that is not granted.
    #[must_use]
    pub fn named_by(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }
}

#[cfg(test)]
mod tests;
