//! A small memory that outlives calls: at most 64 keys of at most 256 bytes, values of at most
//! 16 KiB. Shared by all calls of one configured provider, gone when the router ends or the
//! provider is configured anew; so it is for what can be found out again.

use crate::host;

/// What was kept under this key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::memo_get(key)
}

/// What was kept under this key, if it is text.
pub fn text(key: &str) -> Option<String> {
    get(key).and_then(|value| String::from_utf8(value).ok())
}

/// Keeps a value. False when it does not fit.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> bool {
    host::memo_set(key, value.as_ref())
}

/// Forgets a value.
pub fn delete(key: &str) {
    host::memo_delete(key);
}
