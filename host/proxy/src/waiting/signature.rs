//! Signatures of the URLs of waiting pages. A client that was shown the page has passed the route's
//! authentication, so requests with a valid signature are not authenticated again.

use std::{
    io,
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Validity of a signature. Bounds the access of a client whose permission has been withcreated; a
/// page that waits longer is reloaded and authenticates again.
const VALIDITY: Duration = Duration::from_secs(3600);

/// The key of the signatures. Generated when the router starts.
pub(super) struct SigningKey {
    secret: Hmac<Sha256>,
    created: Instant,
}

// === impl SigningKey ===

impl SigningKey {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let secret = Hmac::new_from_slice(&bytes).expect("HMAC takes keys of every length");
        Ok(Self { secret, created: Instant::now() })
    }

    /// Signs these fields: the time and the digest, in hexadecimal digits.
    pub(super) fn sign(&self, fields: &[&str]) -> String {
        self.sign_at(self.created.elapsed(), fields)
    }

    /// Whether the signature is this key's, of these fields, and has not expired. Compares the
    /// digests in constant time.
    pub(super) fn verify(&self, fields: &[&str], signature: &str) -> bool {
        self.verify_at(self.created.elapsed(), fields, signature)
    }

    fn sign_at(&self, now: Duration, fields: &[&str]) -> String {
        let time = format!("{:x}", now.as_secs());
        let digest = self.mac(&time, fields).finalize().into_bytes();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{time}-{digits}")
    }

    fn verify_at(&self, now: Duration, fields: &[&str], signature: &str) -> bool {
        let Some((time, digits)) = signature.split_once('-') else { return false };
        let Ok(signed) = u64::from_str_radix(time, 16) else { return false };
        let age = now.as_secs().checked_sub(signed);
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()
            })
            .collect();
        bytes.is_some_and(|bytes| self.mac(time, fields).verify_slice(&bytes).is_ok())
            && age.is_some_and(|age| age <= VALIDITY.as_secs())
    }

    fn mac(&self, time: &str, fields: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.secret.clone();
        for field in [time].iter().chain(fields) {
            // Prefixed by its length, so that different lists never produce equal input.
            mac.update(&(field.len() as u64).to_le_bytes());
            mac.update(field.as_bytes());
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_valid_for_its_own_fields_and_key_only() {
        let key = SigningKey::random().unwrap();
        let signature = key.sign(&["web", "a.test", "/"]);
        assert!(key.verify(&["web", "a.test", "/"], &signature));
        assert!(!key.verify(&["web", "a.test/", ""], &signature));
        assert!(!key.verify(&["web", "b.test", "/"], &signature));
        assert!(!SigningKey::random().unwrap().verify(&["web", "a.test", "/"], &signature));
        for broken in ["", "f", "zz", "-", "0-", "0-f", "0-zz", &signature[..32], "é", "0-é"] {
            assert!(!key.verify(&["web", "a.test", "/"], broken), "{broken}");
        }
    }

    #[test]
    fn a_signature_expires_after_an_hour() {
        let (key, fields) = (SigningKey::random().unwrap(), ["web", "a.test", "/"]);
        let signed = Duration::from_secs(1000);
        let signature = key.sign_at(signed, &fields);
        assert!(key.verify_at(signed, &fields, &signature));
        assert!(key.verify_at(signed + VALIDITY, &fields, &signature));
        assert!(!key.verify_at(signed + VALIDITY + Duration::from_secs(1), &fields, &signature));
        assert!(!key.verify_at(Duration::ZERO, &fields, &signature));
        let digits = signature.split_once('-').unwrap().1;
        let later = format!("{:x}-{digits}", 5000);
        assert!(
            !key.verify_at(signed + 2 * VALIDITY, &fields, &later),
            "the time is signed as well"
        );
    }
}
