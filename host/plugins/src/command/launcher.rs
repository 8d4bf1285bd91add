//! How granted programs start: within their limits, and apart from the router.
//!
//! Every program is started by a launcher: a process that enters the directory, sets the limits on
//! itself and then becomes the program, under the process number and start time that it has. So
//! neither the program nor a child that it starts at once is ever without its limits. The launcher is
//! the router's own program, called by another word.
//!
//! A directory, a cgroup or a program's file may lie where a file system does not answer (FUSE, NFS).
//! Only the launcher touches them, and it holds no descriptor of the router: the router waits for it
//! on a socket, with a deadline, blocks no thread, and can end in the meantime.
//!
//! The launcher's standard input is that socket until the program starts. From it the launcher reads
//! what to become, which arguments would tell everybody; on it, it says [`READY`] when all limits are
//! set, and closes it by becoming the program. Anything else that it says is why it could not.

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::Child,
};

use super::{DEFAULT_PATH, Extras, channel, limits::Bounds};
use crate::settings::CommandGrant;

/// The first argument that makes a launcher of the router's program.
const WORD: &str = "launch-within-limits";
/// All limits are set, and the program is about to begin.
const READY: u8 = 0;
/// Longest answer that is read.
const ANSWER: usize = 4 << 10;

/// A program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    program: String,
    arguments: Vec<String>,
    /// A later variable goes before an earlier one of its name.
    environment: Vec<(String, OsString)>,
    directory: Option<PathBuf>,
    bounds: Bounds,
}

/// A process that is about to become the program, or has become it.
pub(super) struct Started {
    /// Killed when it is dropped.
    pub(super) child: Child,
    /// What it writes.
    pub(super) output: pipe::Receiver,
    /// Where its launcher takes the order; absent when there is no launcher.
    socket: Option<UnixStream>,
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Step {
    /// The launcher enters the directory and sets the limits.
    #[default]
    Limits,
    /// The launcher becomes the program.
    Program,
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
            directory: grant.directory.clone(),
            bounds: Bounds::new(&grant.limits, files),
        }
    }

    /// Starts the program without a launcher. Blocks until it has started. Must be called within the
    /// runtime.
    pub(super) fn start(&self) -> io::Result<Started> {
        if !self.bounds.are_none() {
            let why = "it has limits, and there is no launcher to set them";
            return Err(io::Error::other(why));
        }
        let mut command = self.command();
        command.stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            let found = directory.canonicalize().map_err(|why| lost(directory, &why))?;
            command.current_dir(found);
        }
        spawn(command, None)
    }

    /// Tells a launcher what to become, and returns when it has become it. The error says why it
    /// could not; `step` tells how far it is, for a caller that gives up. Must be called within the
    /// runtime. A launcher that was gone already is an error of the kind `UnexpectedEof`.
    pub(super) async fn hand_over(&self, started: &mut Started, step: &mut Step) -> io::Result<()> {
        let Some(socket) = started.socket.take() else { return Ok(()) };
        let mut socket = tokio::net::UnixStream::from_std(socket)?;
        let order = serde_json::to_vec(self)?;
        let sent = async {
            socket.write_all(&order).await?;
            socket.shutdown().await
        };
        let sent = sent.await;
        let mut answer = Vec::new();
        let heard = async {
            let mut piece = [0; 256];
            loop {
                let size = socket.read(&mut piece).await?;
                if size == 0 || answer.len() > ANSWER {
                    return Ok::<_, io::Error>(());
                }
                answer.extend_from_slice(&piece[..size]);
                if answer == [READY] {
                    *step = Step::Program;
                }
            }
        };
        let heard = match sent {
            Ok(()) => heard.await,
            Err(error) => Err(error),
        };
        let why = match (answer.as_slice(), heard) {
            ([READY], Ok(())) => return Ok(()),
            ([READY, why @ ..] | why, Ok(())) if !why.is_empty() => {
                String::from_utf8_lossy(why).into_owned()
            }
            _ => {
                let why = "its launcher ended before the program started";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
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

/// Starts a launcher, which waits for what it is to become. Blocks for as long as the start of the
/// router's own program takes. Must be called within the runtime.
pub(super) fn start(launcher: &Path) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let mut command = Command::new(launcher);
    command.arg(WORD).stdin(OwnedFd::from(theirs));
    spawn(command, Some(socket)).map_err(|error| {
        io::Error::new(error.kind(), format!("its launcher {}: {error}", launcher.display()))
    })
}

/// Starts a process in a group of its own, with a pipe for what it writes. With the command our copies
/// of the child's descriptors are closed, or its silence would not be seen.
fn spawn(mut command: Command, socket: Option<UnixStream>) -> io::Result<Started> {
    let (output, input) = channel()?;
    let errors = input.try_clone()?;
    command.stdout(input).stderr(errors).process_group(0);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    Ok(Started { child, output, socket })
}

/// The error for a directory that cannot be entered.
fn lost(directory: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("its directory {}: {why}", directory.display()))
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
    if let Some(directory) = &launch.directory {
        env::set_current_dir(directory).map_err(|why| lost(directory, &why))?;
    }
    launch.bounds.apply()?;
    socket.write_all(&[READY])?;
    Err(command.exec())
}

#[cfg(test)]
mod tests;
