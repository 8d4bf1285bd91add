//! A CNI configuration: a chain of plugins, and the input of each of them.

use std::{net::IpAddr, path::Path};

use serde_json::{Map, Value, json};

/// Maximum bytes of a configuration.
const CONFIG: u64 = 1 << 20;
/// Maximum plugins in a chain.
const PLUGINS: usize = 16;

/// A parsed configuration.
#[derive(Debug)]
pub(super) struct Chain {
    /// The network's name in the configuration.
    pub(super) name: String,
    version: String,
    /// True if its plugins support CHECK.
    pub(super) can_check: bool,
    pub(super) plugins: Vec<Plugin>,
}

/// One plugin of the chain.
#[derive(Debug)]
pub(super) struct Plugin {
    /// Name of its executable.
    pub(super) kind: String,
    config: Map<String, Value>,
    /// True if it has the capability `ips`, which passes the requested address.
    takes_ips: bool,
    /// True if it has the capability `mac`.
    takes_mac: bool,
}

// === impl Chain ===

impl Chain {
    /// Reads a `.conflist`, or a `.conf` with one plugin.
    pub(super) async fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let unreadable = |why: String| format!("its configuration {shown} cannot be used: {why}");
        let size = tokio::fs::metadata(path).await.map_err(|e| unreadable(e.to_string()))?.len();
        if size > CONFIG {
            return Err(unreadable("it is larger than 1 MiB".to_owned()));
        }
        let text = tokio::fs::read(path).await.map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&text).map_err(unreadable)
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let config: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let word = |key: &str| config.get(key).and_then(Value::as_str);
        let name = word("name").filter(|name| is_name(name)).ok_or("it has no valid `name`")?;
        let version = word("cniVersion").unwrap_or("0.2.0");
        let plugins = match config.get("plugins") {
            Some(Value::Array(plugins)) => plugins.iter().map(Plugin::parse).collect(),
            Some(_) => Err("`plugins` is not a list".to_owned()),
            None => Plugin::parse(&Value::Object(config.clone())).map(|only| vec![only]),
        }?;
        if plugins.is_empty() || plugins.len() > PLUGINS {
            return Err(format!("it has {} plugins; 1 to {PLUGINS} are allowed", plugins.len()));
        }
        let disabled = config.get("disableCheck").is_some_and(|held| *held == json!(true));
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            can_check: !disabled && supports_check(version),
            plugins,
        })
    }

    /// The input of a plugin.
    pub(super) fn config(
        &self,
        plugin: &Plugin,
        result: Option<&Map<String, Value>>,
        address: Option<&str>,
        mac: &str,
    ) -> Value {
        let mut config = plugin.config.clone();
        config.remove("capabilities");
        config.insert("name".into(), self.name.as_str().into());
        config.insert("cniVersion".into(), self.version.as_str().into());
        let mut runtime_config = Map::new();
        if let Some(address) = address.filter(|_| plugin.takes_ips) {
            runtime_config.insert("ips".into(), json!([address]));
        }
        if plugin.takes_mac {
            runtime_config.insert("mac".into(), mac.into());
        }
        if !runtime_config.is_empty() {
            config.insert("runtimeConfig".into(), Value::Object(runtime_config));
        }
        if let Some(result) = result {
            config.insert("prevResult".into(), Value::Object(result.clone()));
        }
        Value::Object(config)
    }

    /// The input of the plugin `loopback`.
    pub(super) fn loopback(&self) -> Value {
        json!({ "cniVersion": self.version, "name": "loopback", "type": "loopback" })
    }
}

// === impl Plugin ===

impl Plugin {
    fn parse(config: &Value) -> Result<Self, String> {
        let Value::Object(config) = config else { return Err("a plugin is not an object".into()) };
        let kind = config.get("type").and_then(Value::as_str);
        let kind = kind.filter(|kind| is_name(kind)).ok_or("a plugin has no valid `type`")?;
        let capabilities = config.get("capabilities");
        let takes = |what| capabilities.and_then(|held| held.get(what)) == Some(&json!(true));
        let (takes_ips, takes_mac) = (takes("ips"), takes("mac"));
        Ok(Self { kind: kind.to_owned(), config: config.clone(), takes_ips, takes_mac })
    }
}

/// Returns whether a name is a single path component.
fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// CHECK exists since CNI 0.4.0.
fn supports_check(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (0, 4)
}

/// Replaces the namespace path `from` in a result by `to`.
pub(super) fn with_sandbox(
    result: &Map<String, Value>,
    from: &str,
    to: &str,
) -> Map<String, Value> {
    let mut result = result.clone();
    let interfaces = result.get_mut("interfaces").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten() {
        if let Some(sandbox) = interface.get_mut("sandbox").filter(|it| it.as_str() == Some(from)) {
            *sandbox = to.into();
        }
    }
    result
}

/// The container's addresses in a result, without prefix lengths.
pub(super) fn addresses(result: &Map<String, Value>) -> Vec<IpAddr> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice);
    let interfaces = list("interfaces").unwrap_or_default();
    let inside = |ip: &Value| {
        let index = ip.get("interface").and_then(Value::as_u64);
        let interface = index.and_then(|index| interfaces.get(usize::try_from(index).ok()?));
        // In results without interfaces, as of old plugins, every address is the container's.
        interface.is_none_or(|interface| {
            interface.get("sandbox").and_then(Value::as_str).is_some_and(|it| !it.is_empty())
        })
    };
    let ips = list("ips").unwrap_or_default().iter().filter(|ip| inside(ip));
    ips.filter_map(|ip| ip.get("address")?.as_str()?.split('/').next()?.parse().ok()).collect()
}
