//! Size limits of a file's contents, checked before compilation: some contents take time and memory
//! out of proportion to the file's size.
//!
//! The limits are several times the contents of components built from JavaScript or Python, which
//! include an interpreter of tens of thousands of functions.

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload, SectionLimited};

use crate::load::check::PROVIDER;

/// Maximum functions with a body.
const FUNCTIONS: u64 = 200_000;
/// Maximum types, of core modules and components.
const TYPES: u64 = 100_000;
/// Maximum imports, and exports, and other definitions: globals, tables, memories, aliases and the
/// like.
const ENTRIES: u64 = 200_000;
/// Maximum data and element segments.
const SEGMENTS: u64 = 100_000;
/// Maximum bytes of one function.
const BODY: u64 = 2 << 20;
/// Maximum local variables of all functions; the format limits those of one function.
const LOCALS: u64 = 10_000_000;
/// Maximum instructions of one function that start, end or select a block, counting each target of
/// a branch table.
const BRANCHES: u64 = 100_000;
/// Maximum nesting of blocks in one function.
const DEPTH: u64 = 10_000;
/// Maximum core modules and components in the file.
const NESTED: u64 = 1_000;
/// Maximum nesting of components.
const LEVELS: u64 = 32;

/// Counts of a file's contents.
#[derive(Debug, Default)]
struct ModuleStats {
    functions: u64,
    types: u64,
    imports: u64,
    exports: u64,
    definitions: u64,
    segments: u64,
    locals: u64,
    nested: u64,
}

/// Why a file is not compiled.
#[derive(Debug)]
enum MeasureError {
    Broken(BinaryReaderError),
    TooMuch { what: &'static str, limit: u64 },
}

/// Fails if a file exceeds a limit or cannot be parsed.
pub(super) fn measure(bytes: &[u8]) -> Result<(), String> {
    let mut module_stats = ModuleStats::default();
    walk(bytes, |payload, level| {
        within("levels of nested components", level, LEVELS)?;
        module_stats.add(payload)?;
        match payload {
            Payload::CodeSectionEntry(body) => module_stats.body(body),
            _ => Ok(()),
        }
    })
}

/// Contract version that a component exports.
pub(super) fn provider(component: &[u8]) -> Result<Option<String>, String> {
    let mut version = None;
    walk(component, |payload, level| {
        let Payload::ComponentExportSection(exports) = payload else { return Ok(()) };
        for export in exports.clone().into_iter().filter(|_| level == 1) {
            if let Some(found) = export?.name.name.strip_prefix(PROVIDER) {
                version = Some(found.to_owned());
            }
        }
        Ok(())
    })?;
    Ok(version)
}

/// Visits the payloads of a file and of nested modules and components. The file itself is level 1.
fn walk(
    bytes: &[u8],
    mut visit: impl FnMut(&Payload<'_>, u64) -> Result<(), MeasureError>,
) -> Result<(), String> {
    let mut level = 0;
    let mut visit_all = || {
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            if let Payload::Version { .. } = payload {
                level += 1;
            }
            visit(&payload, level)?;
            if let Payload::End(_) = payload {
                level -= 1;
            }
        }
        Ok(())
    };
    visit_all().map_err(|flaw: MeasureError| match flaw {
        MeasureError::Broken(error) if Parser::is_component(bytes) => {
            format!("it is not a valid component: {error}; copy or build it again")
        }
        MeasureError::Broken(error) => {
            format!("it is not a complete WASM file: {error}; copy or build it again")
        }
        MeasureError::TooMuch { what, limit } => format!(
            "it has more than {limit} {what}, which could take minutes and gigabytes to compile; \
             split the plugin, or build it for size"
        ),
    })
}

/// Fails if a count exceeds its limit.
fn within(what: &'static str, count: u64, limit: u64) -> Result<(), MeasureError> {
    if count <= limit { Ok(()) } else { Err(MeasureError::TooMuch { what, limit }) }
}

// === impl MeasureError ===

impl From<BinaryReaderError> for MeasureError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Broken(error)
    }
}

// === impl ModuleStats ===

impl ModuleStats {
    /// Counts the entries of a section.
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), MeasureError> {
        let (what, count, more, limit) = match payload {
            Payload::TypeSection(it) => ("types", &mut self.types, count(it), TYPES),
            Payload::CoreTypeSection(it) => ("types", &mut self.types, count(it), TYPES),
            Payload::ComponentTypeSection(it) => ("types", &mut self.types, count(it), TYPES),
            Payload::FunctionSection(it) => {
                ("functions", &mut self.functions, count(it), FUNCTIONS)
            }
            Payload::ImportSection(it) => ("imports", &mut self.imports, count(it), ENTRIES),
            Payload::ComponentImportSection(it) => {
                ("imports", &mut self.imports, count(it), ENTRIES)
            }
            Payload::ExportSection(it) => ("exports", &mut self.exports, count(it), ENTRIES),
            Payload::ComponentExportSection(it) => {
                ("exports", &mut self.exports, count(it), ENTRIES)
            }
            Payload::TableSection(it) => self.definition(count(it)),
            Payload::MemorySection(it) => self.definition(count(it)),
            Payload::TagSection(it) => self.definition(count(it)),
            Payload::GlobalSection(it) => self.definition(count(it)),
            Payload::InstanceSection(it) => self.definition(count(it)),
            Payload::ComponentInstanceSection(it) => self.definition(count(it)),
            Payload::ComponentAliasSection(it) => self.definition(count(it)),
            Payload::ComponentCanonicalSection(it) => self.definition(count(it)),
            Payload::ElementSection(it) => ("segments", &mut self.segments, count(it), SEGMENTS),
            Payload::DataSection(it) => ("segments", &mut self.segments, count(it), SEGMENTS),
            Payload::Version { .. } => {
                ("modules and components inside it", &mut self.nested, 1, NESTED)
            }
            _ => return Ok(()),
        };
        *count = count.saturating_add(more);
        within(what, *count, limit)
    }

    fn definition(&mut self, more: u64) -> (&'static str, &mut u64, u64, u64) {
        ("definitions", &mut self.definitions, more, ENTRIES)
    }

    /// Measures one function.
    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), MeasureError> {
        let range = body.range();
        within("bytes in one function", range.end.saturating_sub(range.start), BODY)?;
        for local in body.get_locals_reader()? {
            let (count, _) = local?;
            self.locals = self.locals.saturating_add(u64::from(count));
        }
        within("local variables", self.locals, LOCALS)?;
        let (mut branches, mut depth) = (0u64, 0u64);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            match operator {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            branches += targets(&operator);
            within("branches in one function", branches, BRANCHES)?;
            within("levels of nested blocks", depth, DEPTH)?;
        }
        Ok(())
    }
}

/// The edges that an instruction adds to the control flow graph, besides the one to the next
/// instruction.
fn targets(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::Else
        | Operator::Try { .. }
        | Operator::Catch { .. }
        | Operator::Br { .. }
        | Operator::BrIf { .. }
        | Operator::BrOnNull { .. }
        | Operator::BrOnNonNull { .. }
        | Operator::BrOnCast { .. }
        | Operator::BrOnCastFail { .. } => 1,
        Operator::BrTable { targets } => 1 + u64::from(targets.len()),
        Operator::TryTable { try_table } => 1 + try_table.catches.len() as u64,
        _ => 0,
    }
}

fn count<T>(section: &SectionLimited<'_, T>) -> u64 {
    u64::from(section.count())
}

#[cfg(test)]
mod tests;
