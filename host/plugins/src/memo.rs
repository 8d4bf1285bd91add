//! A small key-value cache that survives calls.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

const KEYS: usize = 64;
const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 16 << 10;

/// Up to 64 keys of at most 256 bytes, with values of at most 16 KiB.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<BTreeMap<String, Vec<u8>>>);

// === impl Memo ===

impl Memo {
    /// Runs `act` with the locked entries.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores a value; false if it exceeds a limit.
    pub(crate) fn set(&self, key: String, value: Vec<u8>) -> bool {
        self.with(|values| {
            let room = values.len() < KEYS || values.contains_key(&key);
            let fits = room && key.len() <= KEY_BYTES && value.len() <= VALUE_BYTES;
            if fits {
                values.insert(key, value);
            }
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_entries_are_rejected() {
        let memo = Memo::default();
        assert!(!memo.set("k".repeat(257), Vec::new()));
        assert!(!memo.set("k".into(), vec![0; VALUE_BYTES + 1]));
        for n in 0..KEYS {
            assert!(memo.set(n.to_string(), vec![1]));
        }
        assert!(!memo.set("one more".into(), Vec::new()));
        assert!(memo.set("0".into(), vec![2]), "an existing key may be overwritten");
        assert_eq!(memo.with(|values| values["0"].clone()), [2]);
    }
}
