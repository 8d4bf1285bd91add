//! Atomics, replaced by those of loom under its model checker.

#[cfg(drowse_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(drowse_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
