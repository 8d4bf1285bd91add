//! Description of a plugin, read before it is configured.

use crate::{
    bindings::drowse::provider::types,
    provider::Provider,
    settings,
    words::{Attribute, CommandWish, EndpointWish, NetworkWish},
};

/// Name, abilities and requests of a plugin.
///
/// The settings schemas are added from the types in [`Provider`].
#[derive(Clone, Debug)]
pub struct Description {
    name: String,
    version: String,
    summary: String,
    abilities: Vec<Ability>,
    endpoints: Vec<EndpointWish>,
    commands: Vec<CommandWish>,
    networks: Vec<NetworkWish>,
    attributes: Vec<Attribute>,
}

/// An optional ability of a provider. A provider that declares one implements the function of this
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// `stop` accepts a signal.
    StopSignal,
    /// `pause` and `resume`.
    Pause,
    /// `kill`.
    Kill,
    /// `list`.
    List,
    /// `watch`.
    Watch,
    /// `recreate`.
    Recreate,
    /// `fetch`.
    Fetch,
    /// `remove`.
    Remove,
    /// `logs`.
    Logs,
    /// `exec`.
    Exec,
    /// `usage`.
    Usage,
}

// === impl Description ===

impl Description {
    /// A plugin with its name, its version (`env!("CARGO_PKG_VERSION")`) and a summary of one
    /// sentence for `drowse plugin list`.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            abilities: Vec::new(),
            endpoints: Vec::new(),
            commands: Vec::new(),
            networks: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Declares abilities besides `start`, `stop` and `status`.
    #[must_use]
    pub fn abilities(mut self, abilities: impl IntoIterator<Item = Ability>) -> Self {
        self.abilities.extend(abilities);
        self
    }

    /// Requests an endpoint.
    #[must_use]
    pub fn endpoint(mut self, wish: EndpointWish) -> Self {
        self.endpoints.push(wish);
        self
    }

    /// Requests a command.
    #[must_use]
    pub fn command(mut self, wish: CommandWish) -> Self {
        self.commands.push(wish);
        self
    }

    /// Requests a network to attach containers to.
    #[must_use]
    pub fn network(mut self, wish: NetworkWish) -> Self {
        self.networks.push(wish);
        self
    }

    /// Adds an attribute: `homepage`, `license`, `author`.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    pub(crate) fn into_wire<P: Provider>(self) -> types::Description {
        let flags = self
            .abilities
            .iter()
            .fold(types::Abilities::empty(), |flags, ability| flags | ability.flag());
        types::Description {
            name: self.name,
            version: self.version,
            summary: self.summary,
            abilities: flags,
            endpoints: self.endpoints,
            commands: self.commands,
            networks: self.networks,
            settings_schema: settings::schema::<P::Settings>(),
            target_schema: settings::schema::<P::TargetSettings>(),
            attributes: self.attributes,
        }
    }
}

// === impl Ability ===

impl Ability {
    fn flag(self) -> types::Abilities {
        match self {
            Self::StopSignal => types::Abilities::STOP_SIGNAL,
            Self::Pause => types::Abilities::PAUSE,
            Self::Kill => types::Abilities::KILL,
            Self::List => types::Abilities::LIST,
            Self::Watch => types::Abilities::WATCH,
            Self::Recreate => types::Abilities::RECREATE,
            Self::Fetch => types::Abilities::FETCH,
            Self::Remove => types::Abilities::REMOVE,
            Self::Logs => types::Abilities::LOGS,
            Self::Exec => types::Abilities::EXEC,
            Self::Usage => types::Abilities::USAGE,
        }
    }
}
