//! How granted programs begin: within their limits from the first instruction on.
//!
//! A program with limits is begun by a launcher: a process that sets them on itself and then becomes
//! the program, under the number and with the start time that it has. So neither the program nor a
//! child that it starts at once is ever without them. The launcher is the router's own program,
//! called by another word.
//!
//! Its standard input is a socket until then. From it the launcher reads what to become, which
//! arguments would tell everybody; on it, it says [`READY`] when all limits are set, and closes it by
//! becoming the program. Anything else that it says is why it could not.

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::process::Child;

use super::{DEFAULT_PATH, Extras, limits::Bounds};
use crate::settings::CommandGrant;

/// The first argument that makes a launcher of the router's program.
const WORD: &str = "launch-within-limits";
/// All limits are set, and the program is about to begin.
const READY: u8 = 0;
/// A launcher needs a millisecond or two. One that takes so long is stuck, for instance in a cgroup
/// that is frozen.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER: u64 = 4 << 10;

/// A program to begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    program: String,
    arguments: Vec<String>,
    /// A later variable goes before an earlier one of its name.
    environment: Vec<(String, OsString)>,
    bounds: Bounds,
}

// === impl Launch ===

impl Launch {
    /// What is granted, with what a plugin adds. `files` is the soft limit of open files where the
    /// grant has none; the router's own when absent.
    pub(super) fn new(grant: &CommandGrant, extras: &Extras, files: Option<u64>) -> Self {
        let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let own = |(name, value): (&String, &String)| (name.clone(), value.into());
        let added = extras.environment.iter().map(|(name, value)| own((name, value)));
        let environment = [("PATH".to_owned(), path)].into_iter().chain(added);
        Self {
            program: grant.program.clone(),
            arguments: grant.arguments.iter().chain(&extras.arguments).cloned().collect(),
            environment: environment.chain(grant.environment.iter().map(own)).collect(),
            bounds: Bounds::new(&grant.limits, files),
        }
    }

    /// Begins it in a process of its own, which `prepare` gives what it has beside. Returns when the
    /// program has begun or cannot, and blocks until then, as every start of a process does. Must be
    /// called within the runtime.
    pub(super) fn start(
        &self,
        launcher: Option<&Path>,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Child> {
        if self.bounds.are_none() {
            let mut command = self.command();
            command.stdin(Stdio::null());
            prepare(&mut command);
            return spawn(command);
        }
        let launcher = launcher.ok_or_else(|| {
            io::Error::other("it has limits, and there is no launcher to set them")
        })?;
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new(launcher);
        command.arg(WORD).stdin(OwnedFd::from(theirs));
        prepare(&mut command);
        // With the command our copy of the launcher's end is closed, or its silence would not be seen.
        let child = spawn(command).map_err(|error| {
            io::Error::new(error.kind(), format!("its launcher {}: {error}", launcher.display()))
        })?;
        // Dropped if it fails, and killed by that.
        self.hand_over(&socket)?;
        Ok(child)
    }

    /// Tells a launcher what to become, and hears whether it did.
    fn hand_over(&self, mut socket: &UnixStream) -> io::Result<()> {
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let order = serde_json::to_vec(self)?;
        let sent = socket.write_all(&order).and_then(|()| socket.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let heard = sent.and_then(|()| socket.take(ANSWER).read_to_end(&mut answer));
        let why = match (answer.as_slice(), heard) {
            ([READY], Ok(_)) => return Ok(()),
            ([READY, why @ ..] | why, Ok(_)) if !why.is_empty() => {
                String::from_utf8_lossy(why).into_owned()
            }
            (_, Err(error))
                if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) =>
            {
                format!("its launcher did not answer within {} s", PATIENCE.as_secs())
            }
            _ => "its launcher ended before it began".to_owned(),
        };
        Err(io::Error::other(why))
    }

    /// The program by itself.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(&self.arguments).env_clear().envs(environment);
        command
    }
}

fn spawn(command: Command) -> io::Result<Child> {
    tokio::process::Command::from(command).kill_on_drop(true).spawn()
}

/// Becomes the program that this process was started for, if it is a launcher; returns only if it
/// cannot. None in every other process.
///
/// A program that is to be a [`launcher`](crate::PluginsConfig::launcher) begins with it: what is done
/// before is done again at every start of a granted program.
pub fn launched() -> Option<ExitCode> {
    if env::args_os().nth(1)? != WORD {
        return None;
    }
    // A copy, which closes when the program begins and gets a standard input of its own.
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(_) => return Some(ExitCode::FAILURE),
    };
    let Err(why) = obey(&socket);
    if (&socket).write_all(why.to_string().as_bytes()).is_err() {
        eprintln!("drowse {WORD}: the router starts programs by this word, and nobody else: {why}");
    }
    Some(ExitCode::FAILURE)
}

fn obey(mut socket: &UnixStream) -> io::Result<Infallible> {
    let mut order = Vec::new();
    socket.read_to_end(&mut order)?;
    let launch: Launch = serde_json::from_slice(&order)?;
    let mut command = launch.command();
    // Opened now: its limits may leave no room for another file.
    command.stdin(File::open("/dev/null")?);
    launch.bounds.apply()?;
    socket.write_all(&[READY])?;
    Err(command.exec())
}

#[cfg(test)]
mod tests;
