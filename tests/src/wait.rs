//! Polling for conditions in other processes.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Polls `check` every 10 ms until it returns a value. The error names `what` was waited for.
///
/// Only for conditions without an event.
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = check() {
            return Ok(found);
        }
        if begin.elapsed() > limit {
            bail!("timed out after {limit:?}: {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
