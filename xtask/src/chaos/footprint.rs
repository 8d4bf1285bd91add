//! What the router holds of this machine, compared before and after.

use std::{
    fmt, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use drowse_tests::memory::Memory;

use super::stage::Stage;

/// Memory, descriptors and processes of the router, and what is on the engine.
#[derive(Clone, Debug)]
pub(super) struct Footprint {
    resident: u64,
    descriptors: usize,
    children: usize,
    inventory: Vec<String>,
}

/// Connections are closed a while after their last request.
const SETTLE: Duration = Duration::from_secs(100);
/// Memory may grow by a quarter and this much: allocators keep what they once had.
const SLACK: u64 = 24 << 20;
/// Descriptors that may be more than before.
const DESCRIPTORS: usize = 8;

// === impl Footprint ===

impl Footprint {
    /// Of a stage where everything sleeps.
    pub(super) fn of(stage: &Stage) -> Result<Self> {
        let router = stage.with_router(|router| Ok(router.id()))?;
        let count = |dir: &str| -> Result<usize> {
            let path = format!("/proc/{router}/{dir}");
            Ok(fs::read_dir(&path).with_context(|| format!("read {path}"))?.count())
        };
        Ok(Self {
            resident: Memory::of(router)?.resident,
            descriptors: count("fd")?,
            children: children(router)?,
            inventory: stage.inventory()?,
        })
    }

    /// Waits until everything is back where it was. An error that says what is not.
    pub(super) fn wait_until_back(&self, stage: &Stage) -> Result<Self> {
        let begin = Instant::now();
        loop {
            let now = Self::of(stage)?;
            match self.more_in(&now) {
                None => return Ok(now),
                Some(more) if begin.elapsed() > SETTLE => anyhow::bail!("not back: {more}"),
                Some(_) => thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    fn more_in(&self, now: &Self) -> Option<String> {
        let resident = self.resident + self.resident / 4 + SLACK;
        if now.resident > resident {
            return Some(format!("{now}, where it had {self}"));
        }
        if now.descriptors > self.descriptors + DESCRIPTORS || now.children != self.children {
            return Some(format!("{now}, where it had {self}"));
        }
        (now.inventory != self.inventory)
            .then(|| format!("{:?}, where there were {:?}", now.inventory, self.inventory))
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

/// The processes that a process has started and that have not ended.
fn children(parent: u32) -> Result<usize> {
    let parent = parent.to_string();
    let is_child = |stat: &str| {
        // The name in parentheses may hold anything.
        let fields = stat.rsplit_once(')')?.1;
        let mut fields = fields.split_whitespace().skip(1);
        Some(fields.next()? == parent)
    };
    let processes = fs::read_dir("/proc").context("read /proc")?.filter_map(Result::ok);
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    Ok(stats.filter(|stat| is_child(stat).unwrap_or(false)).count())
}
