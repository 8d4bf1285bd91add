//! The ABI between the drowse router and a provider that is a dynamic library: the contract of
//! `wit/v0.1` in C.
//!
//! The library exports one function, [`SYMBOL`], without arguments, which returns a [`Table`] with
//! static lifetime. The table has an [`Entry`] for each [`Function`] of the contract. A call
//! consists of three consecutive entries on one thread: [`Function::Configure`] with the settings,
//! the call itself, and [`Function::Forget`], which drops the configured provider.
//! [`Function::Describe`] needs neither.
//!
//! Arguments and answers are the contract's types in the wire format of
//! [postcard](https://postcard.jamesmunns.com/wire-format): records as their fields in the order of
//! the WIT, variants and enums by the position of their case, flags as one `u32` whose bit 0 is the
//! first flag, several arguments one after the other. Every entry, including `describe`, answers a
//! `result` whose error is the contract's `error`.
//!
//! Memory ownership is never transferred: the answering side passes borrowed bytes to the caller's
//! [`Sink`], which copies them. Nothing may unwind through the ABI in either direction.
//!
//! A library calls the imports of a component on its [`Host`] by name: `log.write`, `http.send`. It
//! may do so on the thread of the call and until the entry returns. A `response` is a handle, a
//! `u32`: `http.send` answers handle, status, reason and headers at once, `http.response.read`
//! takes the handle and the limit, and `http.response.drop` the handle. `messages` are handles,
//! too: `grpc.server-stream` answers one, `grpc.messages.next` and `grpc.messages.drop` take it.

#![forbid(unsafe_code)]

pub mod wire;

use std::{ffi::c_void, mem::offset_of};

/// The function that a library exports, of type [`TableFn`].
pub const SYMBOL: &str = "drowse_provider_table";

/// Version for incompatible changes: the second number of the contract's version.
pub const MAJOR: u32 = 1;

/// Version for compatible additions: the last number of the contract's version.
pub const MINOR: u32 = 0;

/// Number of functions of the contract.
pub const FUNCTIONS: usize = 17;

/// Type of [`SYMBOL`].
pub type TableFn = unsafe extern "C" fn() -> *const Table;

/// One function of the contract. Returns an [`entry`] code, and passes the answer or an error
/// message to the sink.
pub type Entry = unsafe extern "C" fn(host: *const Host, arguments: Bytes, answer: Sink) -> u32;

/// The functions of a library. The first four fields have the same position in every version.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Size of this table in bytes, which determines the number of functions.
    pub size: u32,
    /// [`MAJOR`] of the contract it is built for.
    pub major: u32,
    /// [`MINOR`] of the contract it is built for.
    pub minor: u32,
    /// Always 0.
    pub reserved: u32,
    /// Indexed by [`Function`]; absent entries and those beyond `size` are not supported.
    pub functions: [Option<Entry>; FUNCTIONS],
}

/// The functions of the contract by their index in the [`Table`]. New ones are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Function {
    /// Nothing → `description`.
    Describe,
    /// Settings → nothing.
    Configure,
    /// Nothing → nothing: drops the provider that `configure` created on this thread.
    Forget,
    /// `target` → `observation`.
    Start,
    /// `target`, `stop-options` → `observation`.
    Stop,
    /// `target` → `observation`.
    Status,
    /// `target` → `observation`.
    Pause,
    /// `target` → `observation`.
    Resume,
    /// `target`, optional signal → `observation`.
    Kill,
    /// Optional cursor → `page`.
    List,
    /// Nothing → nothing; returns only with an error.
    Watch,
    /// `target`, `recreate-options` → `observation`.
    Recreate,
    /// `target`, `remove-options` → nothing.
    Remove,
    /// `target`, lines → lines.
    Logs,
    /// `target`, the command → `exit`.
    Exec,
    /// `target` → `resource-usage`.
    Usage,
    /// `target` → nothing.
    Fetch,
}

/// Return codes of an [`Entry`].
pub mod entry {
    /// The sink has the answer.
    pub const ANSWERED: u32 = 0;
    /// The sink has the panic's message.
    pub const PANICKED: u32 = 1;
    /// The arguments could not be decoded; the sink has the reason.
    pub const UNREADABLE: u32 = 2;
    /// The host returned [`GIVEN_UP`](super::host::GIVEN_UP); there is no answer.
    pub const GIVEN_UP: u32 = 3;
}

/// Return codes of [`Host::call`].
pub mod host {
    /// The sink has the answer.
    pub const ANSWERED: u32 = 0;
    /// The call is cancelled: return soon and make no more calls.
    pub const GIVEN_UP: u32 = 1;
    /// This router has no such function.
    pub const UNKNOWN: u32 = 2;
}

/// The router's side of one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Passed to each call.
    pub context: *mut c_void,
    /// Calls a function of the contract's imports by its name; returns a [`host`] code.
    pub call: unsafe extern "C" fn(
        context: *mut c_void,
        function: Bytes,
        arguments: Bytes,
        answer: Sink,
    ) -> u32,
}

/// Bytes that are borrowed for the duration of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Not null, even if `len` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

/// Receiver of an answer; called at most once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Passed to the call.
    pub context: *mut c_void,
    /// Copies the bytes.
    pub take: unsafe extern "C" fn(context: *mut c_void, answer: Bytes),
}

// === impl Table ===

impl Table {
    /// Bytes before the first function.
    pub const HEAD: usize = offset_of!(Table, functions);
}

// === impl Bytes ===

impl Bytes {
    /// Borrows these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

const _: () = assert!(Function::Fetch as usize + 1 == FUNCTIONS);
