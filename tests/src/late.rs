//! The plugin `late`: a file that comes and changes while somebody looks.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{Hello, Home, Programs};

/// A provider `late` that uses the plugin `late`, and the workload `hello` that it wakes.
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

/// The `process` provider of the box, which can be `late`.
pub fn bundled() -> Result<Vec<u8>> {
    fs::read(Programs::from_env().bundle.join("process.wasm")).context("read the bundled plugin")
}

/// The same plugin with a custom section more: another file for the router.
pub fn newer() -> Result<Vec<u8>> {
    Ok([bundled()?.as_slice(), b"\0\x0a\x04notenewer"].concat())
}

/// Its file.
pub fn file(home: &Home) -> PathBuf {
    home.plugins().join("late.wasm")
}

/// Puts it into place in one step, as package managers do.
pub fn put(home: &Home, bytes: &[u8]) -> Result<()> {
    let temporary = home.plugins().join(".late.part");
    fs::write(&temporary, bytes)?;
    Ok(fs::rename(&temporary, file(home))?)
}
