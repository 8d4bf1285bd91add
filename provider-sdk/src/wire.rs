//! Serialization of the contract's types for `drowse-provider-abi`.
//!
//! Most of them derive it in [`bindings`](crate::bindings).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    bindings::drowse::provider::types::Abilities,
    words::{Attribute, Usage},
};

impl Serialize for Abilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        u32::from(self.bits()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Abilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Flags of a later contract are kept, and have no meaning here.
        Ok(Self::from_bits_retain(u32::deserialize(deserializer)? as u16))
    }
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.cpu_percent, self.memory, &self.attributes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (cpu_percent, memory, attributes) =
            <(Option<f64>, Option<u64>, Vec<Attribute>)>::deserialize(deserializer)?;
        Ok(Self { cpu_percent, memory, attributes })
    }
}
