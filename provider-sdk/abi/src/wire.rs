//! Values as bytes, as both sides of the border write and read them.

use serde::{Serialize, de::DeserializeOwned};

/// The bytes of a value.
pub fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the contract's types have a known length")
}

/// The value of these bytes, if they are one and nothing more; else what is wrong with them.
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
    fn what_is_left_over_or_cut_off_is_no_value() {
        assert_eq!(read::<u8>(&[7]), Ok(7));
        assert_eq!(read::<u8>(&[7, 7]), Err("1 bytes are left over".to_owned()));
        assert!(read::<u8>(&[]).is_err());
        assert!(read::<Vec<String>>(&[255, 255, 255, 255, 15]).is_err(), "it asks for 4 GiB");
    }
}
