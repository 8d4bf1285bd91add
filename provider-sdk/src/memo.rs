//! A small cache that outlives calls: at most 64 keys of at most 256 bytes, values of at most 16
//! KiB. All calls of one configured provider share it; it is lost when the router ends or the
//! provider is configured again, so store only values that can be recomputed.

use crate::host;

/// The value of this key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::memo_get(key)
}

/// The value of this key, if it is text.
pub fn text(key: &str) -> Option<String> {
    get(key).and_then(|value| String::from_utf8(value).ok())
}

/// Stores a value. False if it does not fit.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> bool {
    host::memo_set(key, value.as_ref())
}

/// Deletes a value.
pub fn delete(key: &str) {
    host::memo_delete(key);
}
