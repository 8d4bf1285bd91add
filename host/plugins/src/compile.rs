//! Compiling components, in a process that may use only so much.
//!
//! A file of a megabyte can keep a compiler busy for minutes and fill gigabytes. So the file is
//! measured before it is compiled ([`survey`]), and the compiler runs in a child process
//! ([`process`]) whose memory and CPU time the kernel limits. The child gets the file on its standard
//! input and hands the machine code back on its standard output, so the code comes from our own
//! program and from nowhere else. Dropping the future that waits for it kills the child.

mod process;
mod survey;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use wasmtime::Engine;

pub use self::process::compile_process;
use crate::{
    cache::Compiled,
    load::{Source, check},
    settings::CompileLimits,
};

/// Compilations at a time; more wait. Each may use the whole memory of its limit.
const COMPILATIONS: usize = 2;

/// Compiles components within limits.
pub(crate) struct Compiler {
    /// The program that compiles; this process does where there is none, without limits of memory
    /// and time.
    program: Option<PathBuf>,
    limits: CompileLimits,
    permits: Semaphore,
}

// === impl Compiler ===

impl Compiler {
    /// `program` begins with [`compile_process`].
    pub(crate) fn new(program: Option<PathBuf>, limits: CompileLimits) -> Self {
        Self { program, limits, permits: Semaphore::new(COMPILATIONS) }
    }

    /// The machine code of a plugin for this engine. The error follows the plugin's name and says
    /// what to do. Dropping the future ends the compilation.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        source: &Arc<Source>,
    ) -> Result<Compiled, String> {
        check::is_wasm(&source.bytes)?;
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let compiled = match &self.program {
            Some(program) => process::compile(program, self.limits, &source.bytes).await,
            None => {
                let (engine, source) = (engine.clone(), source.clone());
                let here = move || compile(&engine, &source.bytes);
                tokio::task::spawn_blocking(here).await.unwrap_or_else(|_| Err(damaged()))
            }
        };
        tracing::debug!(
            origin = source.origin,
            milliseconds = milliseconds(began.elapsed()),
            compiled = compiled.is_ok(),
            "compilation ended"
        );
        compiled
    }
}

/// Measures a file and compiles it. The error says what is wrong with the file.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Compiled, String> {
    survey::measure(bytes)?;
    let component = check::component(bytes)?;
    check::contract(survey::provider(&component)?.as_deref())?;
    Compiled::compile(engine, &component)
        .map_err(|error| format!("it is not a valid component: {}", crate::load::chain(&error)))
}

/// The parsers of other people's files are not ours; a panic there is a bad file.
pub(crate) fn damaged() -> String {
    "it cannot be read: it is damaged in an unusual way".to_owned()
}

/// Whole milliseconds, for the log.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
