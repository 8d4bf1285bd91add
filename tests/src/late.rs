//! The plugin `late`: a file that is added and replaced while the router runs.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{Hello, Home, Programs};

/// Configuration of a provider `late` with the plugin `late`, and of its workload `hello`.
pub fn config(hello: &Hello) -> String {
    format!(
        "[provider.late]\nplugin = \"late\"\ncommand.hello = {{ run = {:?} }}\n\n\
         [workload.hello]\nprovider = \"late\"\nidle = \"never\"\n\
         wake = {{ cooldown = \"100ms\" }}\n\n\
         [[route]]\nworkload = \"hello\"\nport = {}\n",
        hello.run(),
        hello.port(),
    )
}

/// The bundled `process` plugin, to be used as `late`.
pub fn bundled() -> Result<Vec<u8>> {
    fs::read(Programs::from_env().bundle.join("process.wasm")).context("read the bundled plugin")
}

/// The same plugin with an additional custom section, which makes it a different file.
pub fn newer() -> Result<Vec<u8>> {
    Ok([bundled()?.as_slice(), b"\0\x0a\x04notenewer"].concat())
}

/// Path of the plugin file.
pub fn file(home: &Home) -> PathBuf {
    home.plugins().join("late.wasm")
}

/// Replaces the plugin file atomically, as package managers do.
pub fn put(home: &Home, bytes: &[u8]) -> Result<()> {
    let temporary = home.plugins().join(".late.part");
    fs::write(&temporary, bytes)?;
    Ok(fs::rename(&temporary, file(home))?)
}
