//! Memory usage of a process, from `/proc/PID/status`.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Current.
    pub resident: u64,
    /// Peak.
    pub peak: u64,
}

// === impl Memory ===

impl Memory {
    /// Memory usage of the process with this id.
    pub fn of(process: u32) -> Result<Self> {
        let file = format!("/proc/{process}/status");
        let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        let bytes = |key: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let line = line.with_context(|| format!("no {key} in {file}"))?;
            let number = line.trim().strip_suffix(" kB").context("not in kB")?;
            Ok(number.trim().parse::<u64>()? << 10)
        };
        Ok(Self { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}
