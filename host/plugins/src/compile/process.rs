//! The compiler as a child process: the router's own program, called by another word.
//!
//! What the child is told is a head of three numbers (CPU time in seconds, memory in bytes, length of
//! the file in bytes) and the file. What it answers is a head (a byte that says what follows, the
//! length and the SHA-256 of what follows) and the machine code, or why the file cannot be compiled.
//! An answer counts only when it is complete and the child has ended well.
//!
//! Before it looks at the file the child limits its own memory and CPU time, and gives way to whatever
//! else wants to run. When the machine runs out of memory the kernel ends it before the router. It
//! ends by itself when its standard input closes: then nobody waits for it any more.

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
    cache::Compiled,
    fault::{clean, seconds, size},
    runtime,
    settings::CompileLimits,
    vouch::FILE_BYTES,
};

/// The first argument that makes a compiler of the router's program.
const WORD: &str = "compile-within-limits";
/// Threads of one compilation. More take more memory at a time.
const THREADS: usize = 4;
/// How far the compiler gives way to others.
const NICENESS: i32 = 5;
/// The score by which the kernel chooses what to end when there is no memory left: first.
const OUT_OF_MEMORY_SCORE: &str = "1000";
/// A compilation may take so many times its CPU time by the clock, and this long on top: it gives way
/// to others.
const WALL: u32 = 5;
const WALL_ON_TOP: Duration = Duration::from_secs(60);
/// Bytes of what a compiler says on standard error that are read.
const COMPLAINT: u64 = 16 << 10;
/// Longest machine code.
const CODE: u64 = 1 << 30;

const COMPILED: u8 = 0;
const REFUSED: u8 = 1;
const NO_MEMORY: u8 = 2;
/// What the answer is, its length, its digest.
const HEAD: usize = 1 + 8 + 32;

/// Compiles a file in a child process that is this program. The error follows the plugin's name.
/// Dropping the future kills the child.
pub(super) async fn compile(
    program: &Path,
    limits: CompileLimits,
    bytes: &[u8],
) -> Result<Compiled, String> {
    let wall = limits.time.saturating_mul(WALL).saturating_add(WALL_ON_TOP);
    let outcome = tokio::time::timeout(wall, exchange(program, limits, bytes)).await;
    let Ok(outcome) = outcome else {
        return Err(format!(
            "compiling it took more than {} and was ended; the machine is very busy, or \
             plugin-limits.compile-time is too short for it",
            seconds(wall)
        ));
    };
    let (mut answer, complaint, status) = outcome.map_err(|error| {
        format!("it cannot be compiled: the compiler {}: {error}", program.display())
    })?;
    let kind = kind(&answer).filter(|_| status.success());
    answer.drain(..HEAD.min(answer.len()));
    match kind {
        Some(COMPILED) => Ok(Compiled::from_compiler(answer)),
        Some(REFUSED) => Err(String::from_utf8_lossy(&answer).into_owned()),
        Some(NO_MEMORY) => Err(no_memory(limits)),
        _ => Err(died(limits, status, &String::from_utf8_lossy(&complaint))),
    }
}

/// Hands a compiler its work and waits until it has ended: its answer, what it complained of, and how
/// it ended.
async fn exchange(
    program: &Path,
    limits: CompileLimits,
    bytes: &[u8],
) -> io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let mut child = Command::new(program)
        .arg(WORD)
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on a terminal is for the router, which ends its compilers itself.
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
    let tell = async {
        // One that ends early has its reason, which is told by how it ends.
        let _ = stdin.write_all(&order).await;
        let _ = stdin.write_all(bytes).await;
        let _ = stdin.flush().await;
    };
    let mut stdout = stdout.take(HEAD as u64 + CODE);
    let mut stderr = stderr.take(COMPLAINT);
    let (told, heard, ()) =
        tokio::join!(stdout.read_to_end(&mut answer), stderr.read_to_end(&mut complaint), tell);
    told?;
    heard?;
    let status = child.wait().await?;
    // Its end would have ended the compiler.
    drop(stdin);
    Ok((answer, complaint, status))
}

/// What an answer is, if it is whole.
fn kind(answer: &[u8]) -> Option<u8> {
    let (head, body) = answer.split_at_checked(HEAD)?;
    let length = u64::from_le_bytes(head[1..9].try_into().ok()?);
    let whole = length == body.len() as u64 && Sha256::digest(body)[..] == head[9..];
    whole.then_some(head[0])
}

fn no_memory(CompileLimits { memory, .. }: CompileLimits) -> String {
    format!(
        "compiling it took more than {} of memory and was ended (plugin-limits.compile-memory)",
        size(memory)
    )
}

/// Why a compiler ended without an answer.
fn died(limits: CompileLimits, status: ExitStatus, complaint: &str) -> String {
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    if is(Signal::XCPU) {
        return format!(
            "compiling it took more than {} of CPU time and was ended (plugin-limits.compile-time)",
            seconds(limits.time)
        );
    }
    // What Rust's allocator, and threads that get no stack, say.
    let out_of_memory =
        ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
    if out_of_memory.iter().any(|words| complaint.contains(words)) {
        return no_memory(limits);
    }
    if is(Signal::KILL) {
        return "compiling it was ended by the system, as happens when the machine has no memory \
                left; a lower plugin-limits.compile-memory names the plugin that takes it"
            .to_owned();
    }
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word");
    format!("it cannot be compiled: the compiler ended ({status}): {}", clean(last, 512))
}

/// Compiles a plugin, if this process was started for that. None in every other process.
///
/// A program that is to be a [`launcher`](crate::PluginsConfig::launcher) begins with it, beside
/// [`launched`](crate::launched).
pub fn compile_process() -> Option<ExitCode> {
    if env::args_os().nth(1)? != WORD {
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drowse {WORD}: the router compiles plugins by this word: {error}");
            ExitCode::FAILURE
        }
    })
}

fn serve() -> io::Result<()> {
    // Without the standard library's buffer: a thread goes on reading.
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
        // Nothing more comes: it ends when nobody waits any more.
        let _ = input.read(&mut [0]);
        std::process::exit(1);
    })?;
    let engine = runtime::compiling_engine().map_err(|error| format!("{error:#}"));
    let compiled = engine.and_then(|engine| super::compile(&engine, &bytes));
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

/// Limits this process, for as long as it lives.
fn confine(time: u64, memory: u64) -> io::Result<()> {
    // Both are a courtesy to others, and refused in some containers.
    let _ = nice(NICENESS);
    let _ = fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        // The soft one says by its signal which limit it was, should the hard one be needed.
        (Resource::Cpu, time, time.saturating_add(5)),
        (Resource::Data, memory, memory),
    ] {
        let held = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(held)), maximum: Some(hard.min(held)) };
        setrlimit(resource, limit)?;
    }
    Ok(())
}
