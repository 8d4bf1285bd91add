//! What a program may use up, set by its launcher on itself before it becomes the program.
//!
//! A limit that cannot be set keeps the program from beginning: it was granted with the limit and not
//! without it.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{self, Path},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::settings::CommandLimits;

/// What is to be set.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    limits: CommandLimits,
    /// The soft limit of open files, where the grant has none and another one holds now.
    files: Option<u64>,
}

// === impl Bounds ===

impl Bounds {
    /// The soft limit of open files is `files` where the grant has none: the router has raised its
    /// own, and programs expect the usual one.
    pub(super) fn new(limits: &CommandLimits, files: Option<u64>) -> Self {
        let mut limits = limits.clone();
        // The launcher is in the program's directory.
        let absolute = |cgroup| path::absolute(&cgroup).unwrap_or(cgroup);
        limits.cgroup = limits.cgroup.map(absolute);
        let held = getrlimit(Resource::Nofile).current;
        let files = files.filter(|files| limits.files.is_none() && held != Some(*files));
        Self { limits, files }
    }

    /// There is nothing to set.
    pub(super) fn are_none(&self) -> bool {
        *self == Self { limits: CommandLimits::default(), files: None }
    }

    /// Sets them on this process, from which they go over to all that it starts. The error says which
    /// one could not be set.
    pub(super) fn apply(&self) -> io::Result<()> {
        let CommandLimits { memory, cpu, files, processes, cgroup } = &self.limits;
        if let Some(cgroup) = cgroup {
            enter(cgroup)?;
        }
        if processes.is_some() && rustix::process::geteuid().is_root() {
            return Err(io::Error::other(
                "limits.processes: the kernel does not hold root to it; set pids.max in a cgroup and \
                 name that as limits.cgroup, or run the router as another user",
            ));
        }
        let cpu = cpu.map(|cpu| cpu.as_secs().max(1));
        for (name, resource, limit) in [
            ("cpu", Resource::Cpu, cpu),
            ("files", Resource::Nofile, *files),
            ("processes", Resource::Nproc, *processes),
            // The last, as from here on the launcher itself is held to it.
            ("memory", Resource::Data, *memory),
        ] {
            let Some(limit) = limit else { continue };
            let both = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, both).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("limits.{name}: it cannot be set: {error}"))
            })?;
        }
        if let Some(files) = self.files {
            let usual = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, usual)?;
        }
        Ok(())
    }
}

/// Puts this process into a cgroup, of either version.
fn enter(cgroup: &Path) -> io::Result<()> {
    let file = cgroup.join("cgroup.procs");
    // A file that is not there is not made: then this is no cgroup.
    let opened = OpenOptions::new().write(true).open(&file);
    let own = std::process::id().to_string();
    opened.and_then(|mut file| file.write_all(own.as_bytes())).map_err(|error| {
        let file = file.display();
        io::Error::new(
            error.kind(),
            format!("limits.cgroup: {file}: {error}; make the cgroup first"),
        )
    })
}

#[cfg(test)]
mod tests;
