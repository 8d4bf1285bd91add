//! Deterministic content that both sides can compute.

use bytes::{BufMut, Bytes, BytesMut};

/// An endless byte sequence, determined by the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u64,
}

const WORD: u64 = 8;

// === impl Content ===

impl Content {
    /// `length` bytes from offset `from`.
    pub(crate) fn piece(self, from: u64, length: usize) -> Bytes {
        let skip = (from % WORD) as usize;
        let mut bytes = BytesMut::with_capacity(skip + length + WORD as usize);
        let mut index = from / WORD;
        while bytes.len() < skip + length {
            bytes.put_u64_le(self.word(index));
            index += 1;
        }
        bytes.freeze().slice(skip..skip + length)
    }

    /// Offset of the first wrong byte of `found`, which starts at `from`.
    pub(crate) fn first_wrong(self, from: u64, found: &[u8]) -> Option<u64> {
        let right = self.piece(from, found.len());
        if right == found {
            return None;
        }
        let at = right.iter().zip(found).position(|(right, found)| right != found);
        at.map(|at| from + at as u64)
    }

    /// SplitMix64: each word depends only on the seed and its index.
    fn word(self, index: u64) -> u64 {
        let mut word =
            self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_does_not_depend_on_chunk_boundaries() {
        let content = Content { seed: 7 };
        let whole = content.piece(0, 1000);
        for (from, length) in [(0, 3), (3, 8), (11, 500), (511, 489)] {
            assert_eq!(content.piece(from, length), whole[from as usize..from as usize + length]);
        }
        assert_ne!(whole, Content { seed: 8 }.piece(0, 1000));
    }

    #[test]
    fn the_first_wrong_byte_is_found() {
        let content = Content { seed: 7 };
        let mut found = content.piece(5, 100).to_vec();
        assert_eq!(content.first_wrong(5, &found), None);
        found[40] ^= 1;
        assert_eq!(content.first_wrong(5, &found), Some(45));
    }
}
