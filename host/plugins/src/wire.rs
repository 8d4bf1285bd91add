//! Serialization of the contract's types in the wire format of [`drowse_provider_abi`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{bindings::types::Abilities, info};

impl Serialize for Abilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = info::ABILITIES.iter().enumerate();
        let set = flags.filter(|(_, (flag, _))| self.contains(*flag));
        set.fold(0, |bits: u32, (bit, _)| bits | 1 << bit).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Abilities {
    /// Ignores flags that a later contract adds.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u32::deserialize(deserializer)?;
        let flags = info::ABILITIES.iter().enumerate();
        let set = flags.filter(|(bit, _)| bits & 1 << bit != 0);
        Ok(set.fold(Self::empty(), |abilities, (_, (flag, _))| abilities | *flag))
    }
}

#[cfg(test)]
mod tests {
    use drowse_provider_abi::wire::{bytes, read};
    use proptest::prelude::*;

    use super::*;
    use crate::{bindings::types, function::Answer};

    proptest! {
        #[test]
        fn arbitrary_bytes_decode_or_fail_without_panic(given in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(page) = read::<Answer<types::Page>>(&given) {
                prop_assert!(bytes(&page).len() <= given.len());
            }
            let _ = read::<types::Description>(&given);
        }
    }

    #[test]
    fn abilities_keep_their_bit_positions() {
        let some = Abilities::STOP_SIGNAL | Abilities::LIST | Abilities::USAGE;
        assert_eq!(bytes(&some), bytes(&0b10_0000_1001_u32));
        assert_eq!(read::<Abilities>(&bytes(&some)), Ok(some));
        assert_eq!(read::<Abilities>(&bytes(&(1_u32 << 31))), Ok(Abilities::empty()));
    }
}
