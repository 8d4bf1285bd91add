//! Measuring and compiling one file, in this process.

use wasmtime::Engine;

use super::module_stats;
use crate::{cache::CompiledCode, load::check, text::error_chain};

/// Measures a file and compiles it. The error says what is wrong with the file.
pub(super) fn compile(engine: &Engine, bytes: &[u8]) -> Result<CompiledCode, String> {
    module_stats::measure(bytes)?;
    let component = check::component(bytes)?;
    check::contract(module_stats::provider(&component)?.as_deref())?;
    CompiledCode::compile(engine, &component)
        .map_err(|error| format!("it is not a valid component: {}", error_chain(&error)))
}
