//! Who may follow a wake: whoever was shown its page. What lets in to the page, authentication for
//! instance, has been passed then, and need not be asked again on the reserved path.

use std::io;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signs the addresses that pages are given. Drawn anew when the router starts.
pub(super) struct Key(Hmac<Sha256>);

// === impl Key ===

impl Key {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(Hmac::new_from_slice(&bytes).expect("HMAC takes keys of every length")))
    }

    /// The signature of these words, in hexadecimal digits.
    pub(super) fn sign(&self, words: &[&str]) -> String {
        let digest = self.over(words).finalize().into_bytes();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// In constant time.
    pub(super) fn verify(&self, words: &[&str], signature: &str) -> bool {
        let digits = signature.as_bytes();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| {
                let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()
            })
            .collect();
        bytes.is_some_and(|bytes| self.over(words).verify_slice(&bytes).is_ok())
    }

    fn over(&self, words: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for word in words {
            // Each with its length in front, so that no two lists look the same.
            mac.update(&(word.len() as u64).to_le_bytes());
            mac.update(word.as_bytes());
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_words_under_the_same_key_have_the_signature() {
        let key = Key::random().unwrap();
        let signature = key.sign(&["web", "a.test", "/"]);
        assert!(key.verify(&["web", "a.test", "/"], &signature));
        assert!(!key.verify(&["web", "a.test/", ""], &signature));
        assert!(!key.verify(&["web", "b.test", "/"], &signature));
        assert!(!Key::random().unwrap().verify(&["web", "a.test", "/"], &signature));
        for broken in ["", "f", "zz", &signature[..32], "é"] {
            assert!(!key.verify(&["web", "a.test", "/"], broken), "{broken}");
        }
    }
}
