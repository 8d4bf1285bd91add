//! Atomics that the model checker can replace.

#[cfg(drowse_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(drowse_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
