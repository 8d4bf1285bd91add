//! The contract's types as bytes, for the border of a dynamic library.
//!
//! Most of them derive what is needed in [`bindings`](crate::bindings).

#[cfg(not(target_family = "wasm"))]
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    bindings::drowse::provider::types::Abilities,
    words::{Attribute, Usage},
};

/// The bytes of a value.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the contract's types have a known length")
}

/// The value of these bytes, all of them.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::SerdeDeCustom),
    }
}

impl Serialize for Abilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        u32::from(self.bits()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Abilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What a later contract adds is kept, and means nothing here.
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
