//! Checks of a plugin file before any of its code runs.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

/// Contract version of this router.
pub(crate) const CONTRACT: &str = "0.1.0";
/// Prefix of compatible versions.
const COMPATIBLE: &str = "0.1.";
/// Export of every plugin, without its version.
pub(crate) const PROVIDER: &str = "drowse:provider/provider@";
/// Package of the contract's imports.
const OURS: &str = "drowse:provider/";
/// Interfaces that this router offers.
const OFFERED: [&str; 10] =
    ["types", "log", "clock", "http", "grpc", "command", "network", "udp", "events", "memo"];

const BUILD: &str = "build it with drowse-provider-sdk or wit-bindgen for wasm32-unknown-unknown \
                     or wasm32-wasip2";

/// Fails unless the file is a component or a core module, according to its first bytes.
pub(crate) fn is_wasm(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(b"\0asm") {
        return Err(format!("it is not WASM; {BUILD}"));
    }
    if !Parser::is_component(bytes) && !Parser::is_core_wasm(bytes) {
        return Err(format!("it is WASM of an unsupported version; {BUILD}"));
    }
    Ok(())
}

/// The component in a file: the file itself, or the encoded core module.
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
        .and_then(|encoder| encoder.encode());
    encoded.map(Cow::Owned).map_err(|error| {
        format!("its core module cannot be converted to a component: {error:#}; build it against wit/v0.1")
    })
}

/// Properties of a core module.
#[derive(Default)]
struct Module {
    /// True if it contains its component type.
    typed: bool,
    /// An import of wasip1, if any.
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

/// Contract version that a compiled component exports, if compatible.
pub(super) fn contract_of(component: &Component) -> Result<String, String> {
    let ty = component.component_type();
    let mut exports = ty.exports(component.engine());
    contract(exports.find_map(|(name, _)| name.strip_prefix(PROVIDER)))
}

/// The exported contract version, if compatible.
pub(crate) fn contract(version: Option<&str>) -> Result<String, String> {
    match version {
        Some(version) if version.starts_with(COMPATIBLE) => Ok(version.to_owned()),
        Some(version) => Err(format!(
            "it is built for contract {version}, and this router speaks {CONTRACT}; \
             build it against wit/v0.1, or use the router that it is made for"
        )),
        None => Err(format!(
            "it does not export {PROVIDER}{CONTRACT}, so it is not a drowse provider; {BUILD}"
        )),
    }
}

/// Names of all imports of a component, if this router offers them.
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
