//! The bytes of a plugin and their origin.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    dylib::library::{Library, LinkedPlugin},
    info::{BUNDLED, PluginKind},
    text::hex,
};

/// Maximum bytes of a plugin file.
pub(crate) const FILE_BYTES: u64 = 64 << 20;

/// The bytes of a plugin and their origin.
#[derive(Clone)]
pub(crate) struct PluginSource {
    pub(crate) kind: PluginKind,
    /// `bundled`, or the path.
    pub(crate) origin: String,
    pub(crate) bytes: Cow<'static, [u8]>,
    /// SHA-256, hexadecimal.
    pub(crate) digest: String,
    /// Set for a linked plugin, which needs no loading.
    pub(crate) linked: Option<Library>,
}

// === impl PluginSource ===

impl PluginSource {
    pub(crate) fn new(
        kind: PluginKind,
        origin: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let bytes = bytes.into();
        let digest = hex(&Sha256::digest(&bytes));
        Self { kind, origin: origin.into(), bytes, digest, linked: None }
    }

    pub(crate) fn linked(linked: LinkedPlugin) -> Self {
        let LinkedPlugin { name, library } = linked;
        let source = Self::new(PluginKind::Dylib, BUNDLED, name.as_bytes());
        Self { linked: Some(library), ..source }
    }

    /// Path of its file; none if it is bundled.
    pub(crate) fn file(&self) -> Option<&Path> {
        (self.origin != BUNDLED).then(|| Path::new(&self.origin))
    }

    /// Its name in messages.
    pub(crate) fn title<'a>(&'a self, reference: &'a str) -> &'a str {
        if self.file().is_some() { &self.origin } else { reference }
    }
}

/// Returns whether a reference is a path, not a plugin name.
pub(crate) fn is_path(reference: &str) -> bool {
    reference.contains('/') || reference.ends_with(".wasm") || reference.ends_with(".so")
}

/// The absolute form of a path, or the path itself.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
