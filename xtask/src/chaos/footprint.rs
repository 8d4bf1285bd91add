//! Resource usage of the router, compared before and after a run.

use std::{
    fmt, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use drowse_tests::{memory::Memory, process};

use super::stage::Stage;

/// Memory, descriptors and child processes of the router, and the containers and networks of the engine.
#[derive(Clone, Debug)]
pub(super) struct Footprint {
    resident: u64,
    descriptors: usize,
    children: usize,
    inventory: Vec<String>,
}

/// Maximum time until idle connections are closed.
const SETTLE: Duration = Duration::from_secs(100);
/// Permitted growth of memory in bytes, in addition to a quarter: allocators keep freed memory.
const SLACK: u64 = 24 << 20;
/// Permitted growth of the number of descriptors.
const DESCRIPTORS: usize = 8;

// === impl Footprint ===

impl Footprint {
    /// Measures a stage whose workloads all sleep.
    pub(super) fn of(stage: &Stage) -> Result<Self> {
        let router = stage.with_router(|router| Ok(router.id()))?;
        let count = |dir: &str| -> Result<usize> {
            let path = format!("/proc/{router}/{dir}");
            Ok(fs::read_dir(&path).with_context(|| format!("read {path}"))?.count())
        };
        Ok(Self {
            resident: Memory::of(router)?.resident,
            descriptors: count("fd")?,
            children: process::children(router)?.len(),
            inventory: stage.inventory()?,
        })
    }

    /// Waits until resource usage is back to this level. The error names the difference.
    pub(super) fn wait_until_back(&self, stage: &Stage) -> Result<Self> {
        let begin = Instant::now();
        loop {
            let now = Self::of(stage)?;
            match self.more_in(&now) {
                None => return Ok(now),
                Some(more) if begin.elapsed() > SETTLE => {
                    anyhow::bail!("resource usage has grown: {more}")
                }
                Some(_) => thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    fn more_in(&self, now: &Self) -> Option<String> {
        let resident = self.resident + self.resident / 4 + SLACK;
        if now.resident > resident {
            return Some(format!("{now}, before: {self}"));
        }
        if now.descriptors > self.descriptors + DESCRIPTORS || now.children != self.children {
            return Some(format!("{now}, before: {self}"));
        }
        (now.inventory != self.inventory)
            .then(|| format!("{:?}, before: {:?}", now.inventory, self.inventory))
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, {} descriptors, {} child processes, {} containers and networks",
            self.resident >> 20,
            self.descriptors,
            self.children,
            self.inventory.len()
        )
    }
}
