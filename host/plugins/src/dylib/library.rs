//! A dynamic library, opened once and never closed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::AsRawFd as _,
    sync::{Mutex, PoisonError},
};

use drowse_provider_abi::{Entry, FUNCTIONS, Function, MAJOR, SYMBOL, Table, TableFn};
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
use object::{
    Endianness, Object as _, ObjectSymbol as _,
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use crate::{load::check::CONTRACT, text::hex};

const BUILD: &str = "build it with drowse-provider-sdk by `cargo build --release --features \
                     drowse-provider-sdk/dylib`";

/// The function table of a library. Its code stays loaded until the router exits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library {
    minor: u32,
    functions: [Option<Entry>; FUNCTIONS],
}

/// A plugin that is linked into the executable, called over the same ABI and trusted like a dynamic
/// library.
#[derive(Clone, Copy, Debug)]
pub struct LinkedPlugin {
    pub(crate) name: &'static str,
    pub(crate) library: Library,
}

// === impl LinkedPlugin ===

impl LinkedPlugin {
    /// A linked plugin with this table and name. The error says what is wrong with the table.
    ///
    /// # Safety
    ///
    /// The table must be valid as [`drowse_provider_abi`] describes, such as the SDK generates, and
    /// live forever.
    pub unsafe fn new(name: &'static str, table: *const Table) -> Result<Self, String> {
        // SAFETY: required of the caller.
        Ok(Self { name, library: unsafe { Library::of(table)? } })
    }
}

// === impl Library ===

impl Library {
    /// Contract version that it was built for.
    pub(crate) fn contract(&self) -> String {
        format!("0.{MAJOR}.{}", self.minor)
    }

    /// The entry of a function, if it has one.
    pub(super) fn entry(&self, function: Function) -> Option<Entry> {
        self.functions[function as usize]
    }

    /// Reads the table of a library.
    ///
    /// # Safety
    ///
    /// It must point to a table of any version, as [`drowse_provider_abi`] describes.
    unsafe fn of(table: *const Table) -> Result<Self, String> {
        if table.is_null() {
            return Err(format!("its table is missing; {BUILD}"));
        }
        // SAFETY: the head is the same in every version.
        let (size, major, minor) =
            unsafe { ((*table).size as usize, (*table).major, (*table).minor) };
        if major != MAJOR {
            return Err(format!(
                "it is built for contract 0.{major}.{minor}, and this router speaks {CONTRACT}; \
                 build it against wit/v0.1, or use the router that it is made for"
            ));
        }
        let mut functions = [None; FUNCTIONS];
        for (index, function) in functions.iter_mut().enumerate() {
            let end = Table::HEAD + (index + 1) * size_of::<Option<Entry>>();
            if end <= size {
                // SAFETY: it lies within the table.
                *function = unsafe { (*table).functions[index] };
            }
        }
        let library = Self { minor, functions };
        for (needed, name) in [
            (Function::Describe, "describe"),
            (Function::Configure, "configure"),
            (Function::Forget, "forget"),
        ] {
            if library.entry(needed).is_none() {
                return Err(format!("its table of {size} bytes has no {name}; {BUILD}"));
            }
        }
        Ok(library)
    }
}

/// Opens a library from a sealed copy in memory, after checking it. The same bytes are opened once.
pub(crate) fn open(digest: &str, bytes: &[u8]) -> Result<Library, String> {
    static OPENED: Mutex<BTreeMap<String, Library>> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = opened.get(digest) {
        return Ok(*library);
    }
    check(bytes)?;
    let library = load(digest, bytes)?;
    opened.insert(digest.to_owned(), library);
    Ok(library)
}

/// Checks that the bytes are a complete library with our ABI, before any of its code runs: the
/// system's loader trusts the lengths in a file.
fn check(bytes: &[u8]) -> Result<(), String> {
    let broken =
        |what: &str| format!("it is not a complete dynamic library: {what}; copy it again");
    if !bytes.starts_with(b"\x7fELF") {
        return Err(format!("it is not a dynamic library; {BUILD}"));
    }
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(|error| broken(&error.to_string()))?;
    let endian = file.endian();
    let length = bytes.len() as u64;
    for segment in file.elf_program_headers() {
        let (offset, size) = segment.file_range(endian);
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(broken("a segment exceeds the file"));
        }
    }
    let header = file.elf_header();
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    if header.e_shoff(endian).checked_add(sections).is_none_or(|end| end > length) {
        return Err(broken("its section table exceeds the file"));
    }
    let exported = file.dynamic_symbols().any(|it| it.is_definition() && it.name() == Ok(SYMBOL));
    if !exported {
        return Err(format!(
            "it does not export {SYMBOL}, so it is not a drowse provider; {BUILD}"
        ));
    }
    Ok(())
}

/// Opens the sealed copy of a library.
fn load(expected: &str, bytes: &[u8]) -> Result<Library, String> {
    let copy = sealed(bytes).map_err(|error| format!("its copy in memory: {error}"))?;
    let digest = digest(&copy).map_err(|error| format!("its copy in memory: {error}"))?;
    if digest != expected {
        return Err("its copy in memory differs from the file".to_owned());
    }
    let opened = load_copy(format!("/proc/self/fd/{}", copy.as_raw_fd()).as_ref());
    // The system's loader identifies libraries by path, so no later copy may get this descriptor
    // number.
    std::mem::forget(copy);
    opened
}

/// A sealed memory file with these bytes.
fn sealed(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels may be configured to refuse executable ones; older kernels do not support the flag.
    let made = match memfd_create("drowse-plugin", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("drowse-plugin", flags),
        made => made,
    };
    let mut copy = File::from(made?);
    copy.write_all(bytes)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, seals)?;
    Ok(copy)
}

/// SHA-256 of a whole file, hexadecimal.
fn digest(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn load_copy(path: &OsStr) -> Result<Library, String> {
    // SAFETY: the operator has allowed dynamic libraries, this one is built for this ABI, and its
    // copy is sealed. Its initializers are trusted code.
    let opened = unsafe { Opened::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let opened = opened.map_err(|error| format!("it cannot be opened: {error}"))?;
    // SAFETY: the symbol is a function of this type in every version of the border.
    let table = unsafe {
        match opened.get::<TableFn>(SYMBOL) {
            Ok(table) => Ok(table()),
            Err(error) => Err(format!("it does not export {SYMBOL}: {error}; {BUILD}")),
        }
    };
    // Closing it would unmap code that threads and thread-local destructors still run.
    std::mem::forget(opened);
    // SAFETY: so the table stays for ever, too.
    unsafe { Library::of(table?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn entry(
        _: *const drowse_provider_abi::Host,
        _: drowse_provider_abi::Bytes,
        _: drowse_provider_abi::Sink,
    ) -> u32 {
        0
    }

    fn table(size: usize, major: u32, minor: u32) -> Table {
        let size = u32::try_from(size).unwrap();
        Table { size, major, minor, reserved: 0, functions: [Some(entry); FUNCTIONS] }
    }

    fn library(table: &Table) -> Result<Library, String> {
        // SAFETY: it is a table.
        unsafe { Library::of(table) }
    }

    #[test]
    fn an_older_table_has_fewer_functions() {
        let size = Table::HEAD + 6 * size_of::<Option<Entry>>();
        let old = library(&table(size, MAJOR, 0)).unwrap();
        assert!(old.entry(Function::Status).is_some());
        assert!(old.entry(Function::Pause).is_none(), "it lies beyond the table");
        assert_eq!(old.contract(), "0.1.0");
    }

    #[test]
    fn unknown_functions_of_a_newer_table_are_ignored() {
        let new = library(&table(size_of::<Table>() + 64, MAJOR, 7)).unwrap();
        assert!(new.entry(Function::Usage).is_some());
        assert_eq!(new.contract(), "0.1.7");
    }

    #[test]
    fn an_incompatible_table_is_refused() {
        let cause = library(&table(size_of::<Table>(), 2, 0)).unwrap_err();
        assert!(cause.starts_with("it is built for contract 0.2.0"), "{cause}");
        let cause = library(&table(Table::HEAD, MAJOR, 0)).unwrap_err();
        assert!(cause.starts_with("its table of 16 bytes has no describe"), "{cause}");
        // SAFETY: a null pointer is checked for.
        let cause = unsafe { Library::of(std::ptr::null()) }.unwrap_err();
        assert!(cause.starts_with("its table is missing"), "{cause}");
    }

    #[test]
    fn a_sealed_copy_cannot_be_modified() {
        let copy = sealed(b"machine code").unwrap();
        assert_eq!(digest(&copy).unwrap(), hex(&Sha256::digest(b"machine code")));
        assert!((&copy).write_all(b"other code").is_err());
        assert!(copy.set_len(3).is_err());
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        assert!(std::fs::write(path, "other code").is_err(), "neither by its path");
        assert!(fcntl_add_seals(&copy, SealFlags::WRITE).is_err(), "the seals cannot be changed");
    }

    #[test]
    fn a_file_that_is_not_a_library_is_not_opened() {
        assert!(check(b"\0asm").unwrap_err().starts_with("it is not a dynamic library"));
        assert!(check(b"\x7fELF").unwrap_err().starts_with("it is not a complete"));
        let own = std::fs::read("/proc/self/exe").unwrap();
        let cause = check(&own).unwrap_err();
        assert!(cause.starts_with("it does not export drowse_provider_table"), "{cause}");
        let cause = check(&own[..own.len() - 1]).unwrap_err();
        assert!(cause.starts_with("it is not a complete"), "{cause}");
    }
}
