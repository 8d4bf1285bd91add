//! The compiler process: the router's own executable, started with [`COMPILER_ARGUMENT`].
//!
//! Its input is a header of three numbers (CPU time in seconds, memory in bytes, length of the file
//! in bytes) and the file. Its output is a header (a byte for the kind, the length and the SHA-256
//! of the body) and the body: the machine code, or an error message. An output is accepted only if
//! it is complete and the child exited successfully.
//!
//! Before reading the file the child limits its own memory and CPU time and lowers its priority. If
//! the machine runs out of memory the kernel kills it before the router. It exits when its standard
//! input is closed, because then the router no longer waits for it.

use std::{
    env, fs,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, setrlimit};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use crate::{
    cache::CompiledCode,
    runtime,
    settings::CompileLimits,
    source::FILE_BYTES,
    text::{sanitize, seconds, size},
};

/// First argument that makes the router's executable a compiler.
const COMPILER_ARGUMENT: &str = "compile-within-limits";
/// Maximum threads of one compilation; more use more memory at the same time.
const THREADS: usize = 4;
/// Nice value of the compiler.
const NICENESS: i32 = 5;
/// OOM score adjustment: killed first.
const OUT_OF_MEMORY_SCORE: &str = "1000";
/// Wall-clock limit, as a multiple of the CPU limit plus [`WALL_ON_TOP`], because the compiler has
/// low priority.
const WALL: u32 = 5;
const WALL_ON_TOP: Duration = Duration::from_secs(60);
/// Maximum bytes read from standard error.
const COMPLAINT: u64 = 16 << 10;
/// Maximum bytes of machine code.
const CODE: u64 = 1 << 30;

const COMPILED: u8 = 0;
const REFUSED: u8 = 1;
const NO_MEMORY: u8 = 2;
/// Header bytes: kind, length, digest.
const HEAD: usize = 1 + 8 + 32;

/// Compiles a file in a child process of this executable. The error follows the plugin's name.
/// Dropping the future kills the child.
pub(super) async fn compile(
    program: &Path,
    limits: CompileLimits,
    bytes: &[u8],
) -> Result<CompiledCode, String> {
    let wall = limits.time.saturating_mul(WALL).saturating_add(WALL_ON_TOP);
    let outcome = tokio::time::timeout(wall, exchange(program, limits, bytes)).await;
    let Ok(outcome) = outcome else {
        return Err(format!(
            "compiling it took more than {} and was stopped; the machine is very busy, or \
             plugin-limits.compile-cpu-time is too short for it",
            seconds(wall)
        ));
    };
    let (mut answer, complaint, status) = outcome.map_err(|error| {
        format!("it cannot be compiled: the compiler {}: {error}", program.display())
    })?;
    let kind = kind(&answer).filter(|_| status.success());
    answer.drain(..HEAD.min(answer.len()));
    match kind {
        Some(COMPILED) => Ok(CompiledCode::from_compiler(answer)),
        Some(REFUSED) => Err(String::from_utf8_lossy(&answer).into_owned()),
        Some(NO_MEMORY) => Err(no_memory(limits)),
        _ => Err(no_output(limits, status, &String::from_utf8_lossy(&complaint))),
    }
}

/// Sends the work to a compiler and waits for its exit: returns its output, standard error and exit
/// status.
async fn exchange(
    program: &Path,
    limits: CompileLimits,
    bytes: &[u8],
) -> io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let mut child = Command::new(program)
        .arg(COMPILER_ARGUMENT)
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on a terminal must reach only the router, which kills its compilers itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let missing = || io::Error::other("a pipe to it is missing");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let order = [limits.time.as_secs().max(1), limits.memory, bytes.len() as u64];
    let order = order.map(u64::to_le_bytes).concat();
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let send = async {
        // A write error means that the compiler exited early; its exit status has the reason.
        let _ = stdin.write_all(&order).await;
        let _ = stdin.write_all(bytes).await;
        let _ = stdin.flush().await;
    };
    let mut stdout = stdout.take(HEAD as u64 + CODE);
    let mut stderr = stderr.take(COMPLAINT);
    let (output_read, errors_read, ()) =
        tokio::join!(stdout.read_to_end(&mut answer), stderr.read_to_end(&mut complaint), send);
    output_read?;
    errors_read?;
    let status = child.wait().await?;
    // Kept open until here: closing it makes the compiler exit.
    drop(stdin);
    Ok((answer, complaint, status))
}

/// The kind of an output, if it is complete.
fn kind(answer: &[u8]) -> Option<u8> {
    let (head, body) = answer.split_at_checked(HEAD)?;
    let length = u64::from_le_bytes(head[1..9].try_into().ok()?);
    let whole = length == body.len() as u64 && Sha256::digest(body)[..] == head[9..];
    whole.then_some(head[0])
}

fn no_memory(CompileLimits { memory, .. }: CompileLimits) -> String {
    format!(
        "compiling it took more than {} of memory and was stopped (plugin-limits.compile-memory)",
        size(memory)
    )
}

/// The error for a compiler that exited without an output.
fn no_output(limits: CompileLimits, status: ExitStatus, complaint: &str) -> String {
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    if is(Signal::XCPU) {
        return format!(
            "compiling it took more than {} of CPU time and was stopped (plugin-limits.compile-cpu-time)",
            seconds(limits.time)
        );
    }
    // Messages of Rust's allocator, and of threads without a stack.
    let out_of_memory =
        ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
    if out_of_memory.iter().any(|words| complaint.contains(words)) {
        return no_memory(limits);
    }
    if is(Signal::KILL) {
        return "compiling it was killed by the system, as when the machine has no memory left; \
                with a lower plugin-limits.compile-memory the error names the plugin"
            .to_owned();
    }
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    format!("it cannot be compiled: the compiler ended ({status}): {}", sanitize(last, 512))
}

/// Compiles a plugin, if this process was started for that. None in every other process.
///
/// An executable used as [`launcher`](crate::PluginsConfig::launcher) must call this first, beside
/// [`launched`](crate::launched).
pub fn compile_process() -> Option<ExitCode> {
    if env::args_os().nth(1)? != COMPILER_ARGUMENT {
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drowse {COMPILER_ARGUMENT}: for internal use by the router: {error}");
            ExitCode::FAILURE
        }
    })
}

fn serve() -> io::Result<()> {
    // Without the standard library's buffer, because a thread continues reading.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut order = [0; 24];
    input.read_exact(&mut order)?;
    let number = |at: usize| {
        u64::from_le_bytes(order[at..at + 8].try_into().expect("a slice of eight bytes is one"))
    };
    let (time, memory, length) = (number(0), number(8), number(16));
    confine(time, memory)?;
    if length > FILE_BYTES {
        return Err(io::Error::other("the file is larger than a plugin may be"));
    }
    let mut bytes = Vec::new();
    io::Read::by_ref(&mut input).take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    thread::Builder::new().name("drowse-parent".into()).spawn(move || {
        // Returns only when the router closes the pipe.
        let _ = input.read(&mut [0]);
        std::process::exit(1);
    })?;
    let engine = runtime::compiling_engine().map_err(|error| format!("{error:#}"));
    let compiled = engine.and_then(|engine| super::component::compile(&engine, &bytes));
    drop(bytes);
    match &compiled {
        Ok(compiled) => answer(COMPILED, compiled.bytes()),
        Err(why) if why.contains("Cannot allocate memory") => answer(NO_MEMORY, &[]),
        Err(why) => answer(REFUSED, why.as_bytes()),
    }
}

fn answer(kind: u8, body: &[u8]) -> io::Result<()> {
    let mut head = vec![kind];
    head.extend((body.len() as u64).to_le_bytes());
    head.extend(Sha256::digest(body));
    let mut output = io::stdout().lock();
    output.write_all(&head)?;
    output.write_all(body)?;
    output.flush()
}

/// Limits this process permanently.
fn confine(time: u64, memory: u64) -> io::Result<()> {
    // Both only reduce interference, and some containers refuse them.
    let _ = nice(NICENESS);
    let _ = fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        // The soft limit sends SIGXCPU, which distinguishes it from the hard limit's SIGKILL.
        (Resource::Cpu, time, time.saturating_add(5)),
        (Resource::Data, memory, memory),
    ] {
        let held = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(held)), maximum: Some(hard.min(held)) };
        setrlimit(resource, limit)?;
    }
    Ok(())
}
