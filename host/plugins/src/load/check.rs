//! Is this a plugin at all? Looked at before anything of it runs.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

/// The version of the contract that this router speaks.
pub(crate) const CONTRACT: &str = "0.1.0";
/// Versions with this beginning fit.
const COMPATIBLE: &str = "0.1.";
/// What a plugin exports.
pub(crate) const PROVIDER: &str = "drowse:provider/provider@";
/// Where its imports come from.
const OURS: &str = "drowse:provider/";
/// Interfaces of the contract that this router offers.
const OFFERED: [&str; 10] =
    ["types", "log", "clock", "http", "grpc", "command", "network", "udp", "events", "memo"];

const BUILD: &str = "build it with drowse-provider-sdk or wit-bindgen for wasm32-unknown-unknown \
                     or wasm32-wasip2";

/// Fails unless it is a component or a core module, by its first bytes.
pub(crate) fn is_wasm(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(b"\0asm") {
        return Err(format!("it is not WASM; {BUILD}"));
    }
    if !Parser::is_component(bytes) && !Parser::is_core_wasm(bytes) {
        return Err(format!("it is WASM of a version that is not known here; {BUILD}"));
    }
    Ok(())
}

/// The component that a file is, or that its core module becomes.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if Parser::is_component(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let module = Module::read(bytes).map_err(|error| {
        format!("it is not a complete WASM file: {error}; copy or build it again")
    })?;
    if let Some(import) = module.wasip1 {
        return Err(format!(
            "it imports {import}, so it is built for wasm32-wasip1, which has no component type; \
             build it for wasm32-unknown-unknown or wasm32-wasip2"
        ));
    }
    if !module.typed {
        return Err(format!("it is a core module without a component type; {BUILD}"));
    }
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode());
    encoded.map(Cow::Owned).map_err(|error| {
        format!("its core module cannot become a component: {error:#}; build it against wit/v0.1")
    })
}

/// What matters of a core module.
#[derive(Default)]
struct Module {
    /// It carries its component type.
    typed: bool,
    /// An import that only wasip1 has.
    wasip1: Option<String>,
}

impl Module {
    fn read(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::CustomSection(section) => {
                    module.typed |= section.name().starts_with("component-type");
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        if import.module.starts_with("wasi_") {
                            module.wasip1 = Some(format!("{}.{}", import.module, import.name));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(module)
    }
}

/// The version of the contract that a compiled component exports, if this router speaks it.
pub(super) fn contract_of(component: &Component) -> Result<String, String> {
    let ty = component.component_type();
    let mut exports = ty.exports(component.engine());
    contract(exports.find_map(|(name, _)| name.strip_prefix(PROVIDER)))
}

/// The version of the contract that a component exports, if this router speaks it.
pub(crate) fn contract(version: Option<&str>) -> Result<String, String> {
    match version {
        Some(version) if version.starts_with(COMPATIBLE) => Ok(version.to_owned()),
        Some(version) => Err(format!(
            "it is built for contract {version}, and this router speaks {CONTRACT}; \
             build it against wit/v0.1, or use the router that it is made for"
        )),
        None => Err(format!(
            "it does not export {PROVIDER}{CONTRACT}, so it is no drowse provider; {BUILD}"
        )),
    }
}

/// The names of everything a component imports, if this router offers it.
pub(super) fn imports(component: &Component) -> Result<Vec<String>, String> {
    let ty = component.component_type();
    let engine = component.engine();
    let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    for import in &imports {
        let Some((interface, version)) =
            import.strip_prefix(OURS).map(|rest| rest.split_once('@').unwrap_or((rest, "none")))
        else {
            continue;
        };
        if !version.starts_with(COMPATIBLE) {
            return Err(format!(
                "it imports {import}, and this router speaks contract {CONTRACT}; \
                 build it against wit/v0.1"
            ));
        }
        if !OFFERED.contains(&interface) {
            return Err(format!(
                "it imports {import}, and this version of the router does not offer {interface}; \
                 it offers {}",
                OFFERED.join(", ")
            ));
        }
    }
    Ok(imports)
}
