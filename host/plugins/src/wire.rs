//! The contract's types as bytes, for the border of dynamic libraries: what
//! [`drowse_provider_abi`] describes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::{bindings::types::Abilities, info};

/// The bytes of a value.
pub(crate) fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the contract's types have a known length")
}

/// The value of these bytes, if they are one and nothing more.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

impl Serialize for Abilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = info::ABILITIES.iter().enumerate();
        let set = flags.filter(|(_, (flag, _))| self.contains(*flag));
        set.fold(0, |bits: u32, (bit, _)| bits | 1 << bit).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Abilities {
    /// What a later contract adds is not known here, and left out.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u32::deserialize(deserializer)?;
        let flags = info::ABILITIES.iter().enumerate();
        let set = flags.filter(|(bit, _)| bits & 1 << bit != 0);
        Ok(set.fold(Self::empty(), |abilities, (_, (flag, _))| abilities | *flag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{bindings::types, function::Answer};

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_none(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Some(page) = read::<Answer<types::Page>>(&bytes) {
                prop_assert!(super::bytes(&page).len() <= bytes.len());
            }
            read::<types::Description>(&bytes);
        }
    }

    #[test]
    fn abilities_keep_their_places() {
        let some = Abilities::STOP_SIGNAL | Abilities::LIST | Abilities::USAGE;
        assert_eq!(bytes(&some), bytes(&0b10_0000_1001_u32));
        assert_eq!(read::<Abilities>(&bytes(&some)), Some(some));
        assert_eq!(read::<Abilities>(&bytes(&(1_u32 << 31))), Some(Abilities::empty()));
    }

    #[test]
    fn what_is_left_over_is_no_value() {
        assert_eq!(read::<u8>(&[7]), Some(7));
        assert_eq!(read::<u8>(&[7, 7]), None);
        assert_eq!(read::<u8>(&[]), None);
        assert_eq!(read::<Vec<String>>(&[255, 255, 255, 255, 15]), None, "it asks for 4 GiB");
    }
}
