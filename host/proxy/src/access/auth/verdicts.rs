//! The cache of checked credentials.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Time for which correct credentials are valid without another check.
const CORRECT_TTL: Duration = Duration::from_secs(60);
/// Time for which wrong credentials are refused without another check.
const WRONG_TTL: Duration = Duration::from_secs(5);
/// Maximum entries of each kind.
pub(super) const CAPACITY: usize = 1024;

/// Verdicts by the digest of the credentials, with their expiry.
#[derive(Default)]
pub(super) struct VerdictCache {
    pub(super) correct: HashMap<[u8; 32], Instant>,
    pub(super) wrong: HashMap<[u8; 32], Instant>,
}

// === impl VerdictCache ===

impl VerdictCache {
    /// Returns whether the credentials are correct, if an entry has not expired.
    pub(super) fn get(&self, digest: &[u8; 32]) -> Option<bool> {
        let now = Instant::now();
        let holds = |map: &HashMap<_, Instant>| map.get(digest).is_some_and(|until| now < *until);
        if holds(&self.correct) { Some(true) } else { holds(&self.wrong).then_some(false) }
    }

    /// The last check found the credentials correct, even if the entry has expired.
    pub(super) fn was_correct(&self, digest: &[u8; 32]) -> bool {
        self.correct.contains_key(digest)
    }

    pub(super) fn insert(&mut self, digest: [u8; 32], correct: bool) {
        let now = Instant::now();
        if !correct {
            self.correct.remove(&digest);
        }
        let (map, ttl) = match correct {
            true => (&mut self.correct, CORRECT_TTL),
            false => (&mut self.wrong, WRONG_TTL),
        };
        if map.len() >= CAPACITY {
            map.retain(|_, until| now < *until);
        }
        if map.len() >= CAPACITY {
            map.clear();
        }
        map.insert(digest, now + ttl);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_wrong_entries_do_not_evict_correct_ones() {
        let mut verdicts = VerdictCache::default();
        for n in 0..3 * CAPACITY as u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_ne_bytes());
            verdicts.insert(digest, false);
            assert_eq!(verdicts.get(&digest), Some(false));
        }
        verdicts.insert([9; 32], true);
        assert!(verdicts.wrong.len() <= CAPACITY);
        assert_eq!(verdicts.get(&[9; 32]), Some(true), "wrong entries do not evict correct ones");
        assert_eq!(verdicts.get(&[8; 32]), None);
    }
}
