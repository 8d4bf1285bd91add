//! The border between the drowse router and a provider that is a dynamic library: the contract of
//! `wit/v0.1` as C sees it.
//!
//! The library exports one function, [`SYMBOL`], that takes nothing and returns a [`Table`] which
//! stays for ever. The table has an [`Entry`] for each [`Function`] of the contract. A call is three
//! entries on one thread, one after the other: [`Function::Configure`] with the settings, the call
//! itself, and [`Function::Forget`], which drops what `configure` made. [`Function::Describe`] needs
//! neither.
//!
//! Arguments and answers are the contract's types in the wire format of
//! [postcard](https://postcard.jamesmunns.com/wire-format): records as their fields in the order of
//! the WIT, variants and enums by the position of their case, flags as one `u32` whose bit 0 is the
//! first flag, several arguments one after the other. Every entry answers a `result` whose error is
//! the contract's `error`, also `describe`.
//!
//! No memory changes hands: who answers lends the bytes to the asker's [`Sink`], which copies them.
//! Nothing may unwind through the border in either direction.
//!
//! What a component imports, a library asks of its [`Host`] by name: `log.write`, `http.send`. It
//! may do so on the thread of the call and until the entry returns. A `response` is its handle, a
//! `u32`: `http.send` answers handle, status, reason and headers at once, `http.response.read` takes
//! the handle and the limit, and `http.response.drop` the handle. So are `messages`:
//! `grpc.server-stream` answers their handle, `grpc.messages.next` and `grpc.messages.drop` take it.

#![forbid(unsafe_code)]

pub mod wire;

use std::{ffi::c_void, mem::offset_of};

/// The function that a library exports, of type [`TableFn`].
pub const SYMBOL: &str = "drowse_provider_table";

/// What does not fit together differs in this: the second number of the contract's version.
pub const MAJOR: u32 = 1;

/// What was added without breaking anything: the last number of the contract's version.
pub const MINOR: u32 = 0;

/// Functions of the contract.
pub const FUNCTIONS: usize = 17;

/// What [`SYMBOL`] is.
pub type TableFn = unsafe extern "C" fn() -> *const Table;

/// One function of the contract. Returns an [`entry`] code and hands the answer, or a text that
/// says what went wrong, to the sink.
pub type Entry = unsafe extern "C" fn(host: *const Host, arguments: Bytes, answer: Sink) -> u32;

/// What a library can do. The first four fields keep their place in every version.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Bytes of this table, so how many functions it has.
    pub size: u32,
    /// [`MAJOR`] of the contract it is built for.
    pub major: u32,
    /// [`MINOR`] of the contract it is built for.
    pub minor: u32,
    /// 0.
    pub reserved: u32,
    /// By [`Function`]; what is absent, or lies beyond `size`, is not supported.
    pub functions: [Option<Entry>; FUNCTIONS],
}

/// The functions of the contract by their place in the [`Table`]. New ones come at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Function {
    /// Nothing → `description`.
    Describe,
    /// Settings → nothing.
    Configure,
    /// Nothing → nothing: drops what `configure` made on this thread.
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
    /// `target`, a signal or none → `observation`.
    Kill,
    /// A cursor or none → `page`.
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

/// What an [`Entry`] returns.
pub mod entry {
    /// The sink has the answer.
    pub const ANSWERED: u32 = 0;
    /// The sink has the panic's message.
    pub const PANICKED: u32 = 1;
    /// The arguments could not be read; the sink has the reason.
    pub const UNREADABLE: u32 = 2;
    /// The host said [`GIVEN_UP`](super::host::GIVEN_UP), so nothing was answered.
    pub const GIVEN_UP: u32 = 3;
}

/// What [`Host::call`] returns.
pub mod host {
    /// The sink has the answer.
    pub const ANSWERED: u32 = 0;
    /// The call is given up: return soon, and call nothing more.
    pub const GIVEN_UP: u32 = 1;
    /// This router has no such function.
    pub const UNKNOWN: u32 = 2;
}

/// Who answers what a library asks during one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Goes with each call.
    pub context: *mut c_void,
    /// Calls a function of the contract's imports by its name; a [`host`] code.
    pub call: unsafe extern "C" fn(
        context: *mut c_void,
        function: Bytes,
        arguments: Bytes,
        answer: Sink,
    ) -> u32,
}

/// Bytes that are lent for the time of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Not null, also when there are none.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

/// Where an answer goes: called at most once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Goes with the call.
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
    /// Lends these.
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

const _: () = assert!(Function::Fetch as usize + 1 == FUNCTIONS);
