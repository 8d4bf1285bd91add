//! Resource limits of a program, applied by its launcher to itself before it executes the program.
//!
//! If a limit cannot be applied the program is not started, because it was granted with the limit
//! only.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{self, Path},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::settings::CommandLimits;

/// Limits to apply.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    limits: CommandLimits,
    /// Soft limit of open files if the grant has none and the current one differs.
    files: Option<u64>,
}

// === impl Bounds ===

impl Bounds {
    /// Combines the grant's limits with `files`, the soft limit of open files if the grant has
    /// none: the router raises its own, and programs expect the usual one.
    pub(super) fn new(limits: &CommandLimits, files: Option<u64>) -> Self {
        let mut limits = limits.clone();
        // The launcher changes to the program's directory, so the path must be absolute.
        let absolute = |cgroup| path::absolute(&cgroup).unwrap_or(cgroup);
        limits.cgroup = limits.cgroup.map(absolute);
        let held = getrlimit(Resource::Nofile).current;
        let files = files.filter(|files| limits.files.is_none() && held != Some(*files));
        Self { limits, files }
    }

    /// Returns whether there is nothing to apply.
    pub(super) fn are_none(&self) -> bool {
        *self == Self { limits: CommandLimits::default(), files: None }
    }

    /// Applies the limits to this process and so to its children. The error names the limit that
    /// failed.
    pub(super) fn apply(&self) -> io::Result<()> {
        let CommandLimits { memory, cpu, files, processes, cgroup } = &self.limits;
        if let Some(cgroup) = cgroup {
            enter(cgroup)?;
        }
        if processes.is_some() && rustix::process::geteuid().is_root() {
            return Err(io::Error::other(
                "limits.processes: the kernel does not enforce it for root; set pids.max in a cgroup \
                 and name that in limits.cgroup, or run the router as another user",
            ));
        }
        let cpu = cpu.map(|cpu| cpu.as_secs().max(1));
        for (name, resource, limit) in [
            ("cpu-time", Resource::Cpu, cpu),
            ("open-files", Resource::Nofile, *files),
            ("processes", Resource::Nproc, *processes),
            // Last, because it applies to the launcher itself too.
            ("memory", Resource::Data, *memory),
        ] {
            let Some(limit) = limit else { continue };
            let both = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, both).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("limits.{name}: cannot be set: {error}"))
            })?;
        }
        if let Some(files) = self.files {
            let usual = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, usual)?;
        }
        Ok(())
    }
}

/// Moves this process into a cgroup of either version.
fn enter(cgroup: &Path) -> io::Result<()> {
    let file = cgroup.join("cgroup.procs");
    // Not created if missing: then the directory is not a cgroup.
    let opened = OpenOptions::new().write(true).open(&file);
    let own = std::process::id().to_string();
    opened.and_then(|mut file| file.write_all(own.as_bytes())).map_err(|error| {
        let file = file.display();
        io::Error::new(
            error.kind(),
            format!("limits.cgroup: {file}: {error}; create the cgroup first"),
        )
    })
}

#[cfg(test)]
mod tests;
