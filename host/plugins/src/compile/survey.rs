//! What a file holds, counted before anything is compiled: a compiler takes time and memory for
//! some of it out of all proportion to the file's size.
//!
//! The limits are several times what components made from JavaScript or Python hold, which bring an
//! interpreter of tens of thousands of functions with them.

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload, SectionLimited};

use crate::load::check::PROVIDER;

/// Functions with a body.
const FUNCTIONS: u64 = 200_000;
/// Types, of core modules and of components.
const TYPES: u64 = 100_000;
/// Imports, exports, globals, tables, memories, aliases and the like: one limit for each.
const ENTRIES: u64 = 200_000;
/// Segments of data and of elements.
const SEGMENTS: u64 = 100_000;
/// Bytes of one function.
const BODY: u64 = 2 << 20;
/// Local variables of all functions; the format has a limit for one function.
const LOCALS: u64 = 10_000_000;
/// Instructions that begin, end or choose a block in one function, with each target of a table of
/// branches.
const BRANCHES: u64 = 100_000;
/// Blocks inside each other in one function.
const DEPTH: u64 = 10_000;
/// Core modules and components inside the file.
const NESTED: u64 = 1_000;
/// Components inside each other.
const LEVELS: u64 = 32;

/// How much of everything a file holds.
#[derive(Debug, Default)]
struct Survey {
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
enum Flaw {
    Broken(BinaryReaderError),
    TooMuch { what: &'static str, limit: u64 },
}

/// Fails when a file holds more of something than is compiled, or cannot be parsed.
pub(super) fn measure(bytes: &[u8]) -> Result<(), String> {
    let mut survey = Survey::default();
    walk(bytes, |payload, level| {
        within("components inside each other", level, LEVELS)?;
        survey.add(payload)?;
        match payload {
            Payload::CodeSectionEntry(body) => survey.body(body),
            _ => Ok(()),
        }
    })
}

/// The version of the contract that a component exports.
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

/// Visits the parts of a file and of what is inside it. The file itself is level 1.
fn walk(
    bytes: &[u8],
    mut visit: impl FnMut(&Payload<'_>, u64) -> Result<(), Flaw>,
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
    visit_all().map_err(|flaw: Flaw| match flaw {
        Flaw::Broken(error) if Parser::is_component(bytes) => {
            format!("it is not a valid component: {error}; copy or build it again")
        }
        Flaw::Broken(error) => {
            format!("it is not a complete WASM file: {error}; copy or build it again")
        }
        Flaw::TooMuch { what, limit } => format!(
            "it has more than {limit} {what}, and a file with so many is not compiled, as that \
             could take minutes and gigabytes; split the plugin, or build it for size"
        ),
    })
}

/// Fails when there is more of something than its limit.
fn within(what: &'static str, count: u64, limit: u64) -> Result<(), Flaw> {
    if count <= limit { Ok(()) } else { Err(Flaw::TooMuch { what, limit }) }
}

// === impl Flaw ===

impl From<BinaryReaderError> for Flaw {
    fn from(error: BinaryReaderError) -> Self {
        Self::Broken(error)
    }
}

// === impl Survey ===

impl Survey {
    /// Counts what a section holds.
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), Flaw> {
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

    /// Looks at one function.
    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Flaw> {
        let range = body.range();
        within("bytes in one function", range.len() as u64, BODY)?;
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
            within("blocks inside each other", depth, DEPTH)?;
        }
        Ok(())
    }
}

/// How many edges an instruction adds to its function's graph, beside the one to the next.
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
