//! What a program may use up, set from outside as soon as it has begun.
//!
//! A limit that cannot be set ends the program: it was granted with the limit and not without it.

use std::{fs, io, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, getrlimit, prlimit},
};

use crate::settings::CommandLimits;

/// Sets the limits of a process, which go over to all that it starts. The soft limit of open files
/// is `files` where the grant has none. The error says which limit could not be set.
pub(super) fn apply(limits: &CommandLimits, files: Option<u64>, pid: Pid) -> io::Result<()> {
    let CommandLimits { memory, cpu, files: own_files, processes, cgroup } = limits;
    if let Some(cgroup) = cgroup {
        enter(cgroup, pid)?;
    }
    if processes.is_some() && rustix::process::geteuid().is_root() {
        return Err(io::Error::other(
            "limits.processes: the kernel does not hold root to it; set pids.max in a cgroup and \
             name that as limits.cgroup, or run the router as another user",
        ));
    }
    let cpu = cpu.map(|cpu| cpu.as_secs().max(1));
    for (name, resource, limit) in [
        ("memory", Resource::Data, *memory),
        ("cpu", Resource::Cpu, cpu),
        ("files", Resource::Nofile, *own_files),
        ("processes", Resource::Nproc, *processes),
    ] {
        let Some(limit) = limit else { continue };
        let both = Rlimit { current: Some(limit), maximum: Some(limit) };
        set(pid, resource, both).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("limits.{name}: it cannot be set: {error}"))
        })?;
    }
    if let (None, Some(files)) = (own_files, files) {
        // The router has raised its own; programs expect the usual one.
        let usual = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
        set(pid, Resource::Nofile, usual)?;
    }
    Ok(())
}

/// One that has ended needs no limit.
fn set(pid: Pid, resource: Resource, limit: Rlimit) -> Result<(), Errno> {
    match prlimit(Some(pid), resource, limit) {
        Ok(_) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts a process into a cgroup, of either version.
fn enter(cgroup: &Path, pid: Pid) -> io::Result<()> {
    let file = cgroup.join("cgroup.procs");
    // A file that is not there is not made: then this is no cgroup.
    let opened = fs::OpenOptions::new().write(true).open(&file);
    let pid = pid.as_raw_nonzero().to_string();
    match opened.and_then(|mut file| io::Write::write_all(&mut file, pid.as_bytes())) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("limits.cgroup: {}: {error}; make the cgroup first", file.display()),
        )),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
