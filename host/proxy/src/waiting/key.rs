//! Who may follow a wake: whoever was shown its page. What lets in to the page, authentication for
//! instance, has been passed then, and need not be asked again on the reserved path.

use std::{
    io,
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A signature counts for so long. Whoever is not let in any more cannot follow for ever, and a page
/// that waits for longer is loaded again and let in anew.
const COUNTS: Duration = Duration::from_secs(3600);

/// Signs the addresses that pages are given. Drawn anew when the router starts.
pub(super) struct Key {
    secret: Hmac<Sha256>,
    drawn: Instant,
}

// === impl Key ===

impl Key {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let secret = Hmac::new_from_slice(&bytes).expect("HMAC takes keys of every length");
        Ok(Self { secret, drawn: Instant::now() })
    }

    /// The signature of these words now: the moment and the digest, in hexadecimal digits.
    pub(super) fn sign(&self, words: &[&str]) -> String {
        self.sign_at(self.drawn.elapsed(), words)
    }

    /// Whether these words were signed, lately. The digest is compared in constant time.
    pub(super) fn verify(&self, words: &[&str], signature: &str) -> bool {
        self.verify_at(self.drawn.elapsed(), words, signature)
    }

    fn sign_at(&self, now: Duration, words: &[&str]) -> String {
        let moment = format!("{:x}", now.as_secs());
        let digest = self.over(&moment, words).finalize().into_bytes();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{moment}-{digits}")
    }

    fn verify_at(&self, now: Duration, words: &[&str], signature: &str) -> bool {
        let Some((moment, digits)) = signature.split_once('-') else { return false };
        let Ok(signed) = u64::from_str_radix(moment, 16) else { return false };
        let age = now.as_secs().checked_sub(signed);
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()
            })
            .collect();
        bytes.is_some_and(|bytes| self.over(moment, words).verify_slice(&bytes).is_ok())
            && age.is_some_and(|age| age <= COUNTS.as_secs())
    }

    fn over(&self, moment: &str, words: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.secret.clone();
        for word in [moment].iter().chain(words) {
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
        for broken in ["", "f", "zz", "-", "0-", "0-f", "0-zz", &signature[..32], "é", "0-é"] {
            assert!(!key.verify(&["web", "a.test", "/"], broken), "{broken}");
        }
    }

    #[test]
    fn a_signature_counts_for_an_hour() {
        let (key, words) = (Key::random().unwrap(), ["web", "a.test", "/"]);
        let signed = Duration::from_secs(1000);
        let signature = key.sign_at(signed, &words);
        assert!(key.verify_at(signed, &words, &signature));
        assert!(key.verify_at(signed + COUNTS, &words, &signature));
        assert!(!key.verify_at(signed + COUNTS + Duration::from_secs(1), &words, &signature));
        assert!(!key.verify_at(Duration::ZERO, &words, &signature));
        let digits = signature.split_once('-').unwrap().1;
        let later = format!("{:x}-{digits}", 5000);
        assert!(!key.verify_at(signed + 2 * COUNTS, &words, &later), "the moment is signed, too");
    }
}
