//! Compilation of components, in a process with resource limits.
//!
//! A file of a megabyte can keep a compiler busy for minutes and use gigabytes. So the file is
//! measured before it is compiled ([`module_stats`]), and the compiler runs in a child process
//! ([`process`]) with kernel limits on memory and CPU time. The child receives the file on its
//! standard input and returns the machine code on its standard output, so the code comes only from
//! our own executable. Dropping the future kills the child.

mod component;
mod module_stats;
pub(crate) mod process;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use wasmtime::Engine;

use self::component::compile;
use crate::{cache::CompiledCode, load::check, settings::CompileLimits, source::PluginSource};

/// Maximum concurrent compilations; further ones wait. Each may use its whole memory limit.
const COMPILATIONS: usize = 2;

/// Compiles components within limits.
pub(crate) struct Compiler {
    /// The executable that compiles; if absent, this process compiles without limits on memory and
    /// time.
    program: Option<PathBuf>,
    limits: CompileLimits,
    permits: Semaphore,
}

// === impl Compiler ===

impl Compiler {
    /// `program` must call [`process::compile_process`] first.
    pub(crate) fn new(program: Option<PathBuf>, limits: CompileLimits) -> Self {
        Self { program, limits, permits: Semaphore::new(COMPILATIONS) }
    }

    /// Compiles a plugin for this engine. The error follows the plugin's name and says what to do.
    /// Dropping the future cancels the compilation.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        source: &Arc<PluginSource>,
    ) -> Result<CompiledCode, String> {
        check::is_wasm(&source.bytes)?;
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let compiled = match &self.program {
            Some(program) => process::compile(program, self.limits, &source.bytes).await,
            None => {
                let (engine, source) = (engine.clone(), source.clone());
                let compile_here = move || compile(&engine, &source.bytes);
                tokio::task::spawn_blocking(compile_here).await.unwrap_or_else(|_| Err(damaged()))
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

/// The parsers are third-party code; a panic in them means an invalid file.
pub(crate) fn damaged() -> String {
    "it cannot be parsed: the file is damaged".to_owned()
}

/// Whole milliseconds, for the log.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
