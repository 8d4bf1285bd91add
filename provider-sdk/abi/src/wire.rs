//! Encoding of values, shared by both sides of the ABI.

use serde::{Serialize, de::DeserializeOwned};

/// Encodes a value.
pub fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the contract's types have a known length")
}

/// Decodes a value; the error is the reason, also for trailing bytes.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        assert_eq!(read::<u8>(&[7]), Ok(7));
        assert_eq!(read::<u8>(&[7, 7]), Err("1 bytes are left over".to_owned()));
        assert!(read::<u8>(&[]).is_err());
        assert!(read::<Vec<String>>(&[255, 255, 255, 255, 15]).is_err(), "it asks for 4 GiB");
    }
}
