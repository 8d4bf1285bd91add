//! Launching of granted programs within their limits, isolated from the router.
//!
//! Each program is started by a launcher: a process that enters the working directory, applies the
//! limits to itself and then executes the program, keeping its PID and start time. So neither the
//! program nor its children ever run without the limits. The launcher is the router's own
//! executable, started with [`LAUNCHER_ARGUMENT`].
//!
//! The directory, the cgroup or the program's file may be on a file system that hangs (FUSE, NFS).
//! Only the launcher accesses them, and it holds no file descriptor of the router: the router waits
//! for it on a socket with a timeout, blocks no thread, and can stop meanwhile.
//!
//! Until the program starts, that socket is the launcher's standard input. The launcher reads the
//! program, its arguments and its environment from it, because command line arguments are visible
//! to all users. It writes [`READY`] once all limits are set, and the socket closes when the
//! program is executed. Any other output is an error message.

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::Child,
};

use super::limits::Bounds;
use crate::settings::CommandGrant;

/// First argument that makes the router's executable a launcher.
const LAUNCHER_ARGUMENT: &str = "launch-within-limits";
/// Sent when all limits are set and the program is about to be executed.
const READY: u8 = 0;
/// Maximum bytes of an answer.
const ANSWER: usize = 4 << 10;

/// `PATH` if the router has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Timeout from the start of the launcher to the start of the program; usually two milliseconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How programs are launched.
#[derive(Clone, Debug)]
pub(crate) struct LaunchOptions {
    /// The executable that applies limits. Without it, a program with limits is not started.
    pub(crate) launcher: Option<PathBuf>,
    /// Soft limit of open files; by default the router's own.
    pub(crate) files: Option<u64>,
    /// Timeout of a start.
    pub(crate) deadline: Duration,
}

/// Arguments and environment that a plugin adds to a command.
#[derive(Clone, Default)]
pub(super) struct Extras {
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// A program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    program: String,
    arguments: Vec<String>,
    /// A later variable overrides an earlier one of the same name.
    environment: Vec<(String, OsString)>,
    directory: Option<PathBuf>,
    bounds: Bounds,
}

/// A launcher, or the program that it has become.
pub(super) struct StartedProcess {
    /// Killed on drop.
    pub(super) child: Child,
    /// Its output.
    pub(super) output: pipe::Receiver,
    /// Socket of the launcher; absent if there is none.
    socket: Option<UnixStream>,
}

/// Progress of a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StartStep {
    /// The launcher enters the directory and applies the limits.
    #[default]
    Limits,
    /// The launcher executes the program.
    Program,
}

// === impl LaunchOptions ===

impl Default for LaunchOptions {
    fn default() -> Self {
        Self { launcher: None, files: None, deadline: DEADLINE }
    }
}

// === impl Launch ===

impl Launch {
    /// Combines the grant with the plugin's additions. `files` is the soft limit of open files if
    /// the grant has none; by default the router's own.
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

    /// Starts the program without a launcher. Blocks until it has started. Must be called within a
    /// tokio runtime.
    pub(super) fn start(&self) -> io::Result<StartedProcess> {
        if !self.bounds.are_none() {
            let why = "it has limits, and no launcher is configured to apply them";
            return Err(io::Error::other(why));
        }
        let mut command = self.command();
        command.stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            let found = directory.canonicalize().map_err(|why| directory_error(directory, &why))?;
            command.current_dir(found);
        }
        spawn(command, None)
    }

    /// Sends the program to a launcher and returns once it is executed. The error is the launcher's
    /// message; `step` is the progress, for a caller that times out. Must be called within a tokio
    /// runtime. A launcher that had exited already is an error of kind `UnexpectedEof`.
    pub(super) async fn hand_over(
        &self,
        started: &mut StartedProcess,
        step: &mut StartStep,
    ) -> io::Result<()> {
        let Some(socket) = started.socket.take() else { return Ok(()) };
        let mut socket = tokio::net::UnixStream::from_std(socket)?;
        let order = serde_json::to_vec(self)?;
        let sent = async {
            socket.write_all(&order).await?;
            socket.shutdown().await
        };
        let sent = sent.await;
        let mut answer = Vec::new();
        let read = async {
            let mut piece = [0; 256];
            loop {
                let size = socket.read(&mut piece).await?;
                if size == 0 || answer.len() > ANSWER {
                    return Ok::<_, io::Error>(());
                }
                answer.extend_from_slice(&piece[..size]);
                if answer == [READY] {
                    *step = StartStep::Program;
                }
            }
        };
        let read = match sent {
            Ok(()) => read.await,
            Err(error) => Err(error),
        };
        let why = match (answer.as_slice(), read) {
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

    /// The program, without limits.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(&self.arguments).env_clear().envs(environment);
        command
    }
}

/// Starts a launcher, which waits for its program. Blocks until the router's executable has
/// started. Must be called within a tokio runtime.
pub(super) fn start(launcher: &Path) -> io::Result<StartedProcess> {
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let mut command = Command::new(launcher);
    command.arg(LAUNCHER_ARGUMENT).stdin(OwnedFd::from(theirs));
    spawn(command, Some(socket)).map_err(|error| {
        io::Error::new(error.kind(), format!("its launcher {}: {error}", launcher.display()))
    })
}

/// Starts a process in a new group with an output pipe. Dropping the command closes our copies of
/// the child's descriptors; otherwise the end of its output would not be seen.
fn spawn(mut command: Command, socket: Option<UnixStream>) -> io::Result<StartedProcess> {
    let (output, input) = output_pipe()?;
    let errors = input.try_clone()?;
    command.stdout(input).stderr(errors).process_group(0);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    Ok(StartedProcess { child, output, socket })
}

/// A pipe for output. The write end is opened for reading too, so a program does not get SIGPIPE
/// when the router exits, and the next router can continue reading.
fn output_pipe() -> io::Result<(pipe::Receiver, File)> {
    let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let both = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", input.as_raw_fd()))
        .unwrap_or_else(|_| File::from(input));
    Ok((pipe::Receiver::from_owned_fd(output)?, both))
}

/// The error for a directory that cannot be entered.
fn directory_error(directory: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("its directory {}: {why}", directory.display()))
}

/// Executes the program that this process was started for, if it is a launcher; returns only on
/// failure. None in every other process.
///
/// An executable used as [`launcher`](crate::PluginsConfig::launcher) must call this first:
/// everything before it runs at every start of a granted program.
pub fn launched() -> Option<ExitCode> {
    if env::args_os().nth(1)? != LAUNCHER_ARGUMENT {
        return None;
    }
    // A duplicate that is closed on exec; the program gets another standard input.
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(_) => return Some(ExitCode::FAILURE),
    };
    let Err(why) = launch_program(&socket);
    if (&socket).write_all(why.to_string().as_bytes()).is_err() {
        eprintln!("drowse {LAUNCHER_ARGUMENT}: for internal use by the router: {why}");
    }
    Some(ExitCode::FAILURE)
}

fn launch_program(mut socket: &UnixStream) -> io::Result<Infallible> {
    let mut order = Vec::new();
    socket.read_to_end(&mut order)?;
    let launch: Launch = serde_json::from_slice(&order)?;
    let mut command = launch.command();
    // Opened before the limits are applied, which may allow no further file.
    command.stdin(File::open("/dev/null")?);
    if let Some(directory) = &launch.directory {
        env::set_current_dir(directory).map_err(|why| directory_error(directory, &why))?;
    }
    launch.bounds.apply()?;
    socket.write_all(&[READY])?;
    Err(command.exec())
}

#[cfg(test)]
mod tests;
