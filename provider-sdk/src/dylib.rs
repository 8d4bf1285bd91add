//! A [`Provider`] as a dynamic library: the function table for the router.
//!
//! `drowse-provider-abi` describes the ABI. Every entry catches panics; during an entry the
//! installed [`Caller`] passes the provider's host calls to the router.

mod caller;
mod panics;

use std::rc::Rc;

pub use drowse_provider_abi::Table;
use drowse_provider_abi::{
    Bytes, Entry, FUNCTIONS, Function, Host, MAJOR, MINOR, Sink, entry, wire,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    bindings::{drowse::provider::types, exports::drowse::provider::provider::Guest as _},
    dylib::caller::Caller,
    glue::Glue,
    host,
    provider::Provider,
};

// Unwinding is needed to catch panics and to end cancelled calls.
#[cfg(all(feature = "dylib", panic = "abort"))]
compile_error!(
    "a provider that is a dynamic library is built with panic = \"unwind\": a panic would end the \
     router"
);

/// The function table of a provider.
pub fn table<P: Provider>() -> &'static Table {
    &Entries::<P>::TABLE
}

struct Entries<P>(std::marker::PhantomData<P>);

/// Defines the entries of a provider with the arguments that they read.
macro_rules! entries {
    ($($function:ident => $name:ident($($argument:ident: $type:ty),*);)+) => {
        impl<P: Provider> Entries<P> {
            const TABLE: Table = {
                let mut functions: [Option<Entry>; FUNCTIONS] = [None; FUNCTIONS];
                $(functions[Function::$function as usize] = Some(Self::$name);)+
                Table { size: size_of::<Table>() as u32, major: MAJOR, minor: MINOR, reserved: 0, functions }
            };

            $(
            unsafe extern "C" fn $name(host: *const Host, arguments: Bytes, answer: Sink) -> u32 {
                // SAFETY: by the ABI's rules host, arguments and sink are valid until this returns.
                unsafe {
                    enter(host, arguments, answer, |($($argument,)*): ($($type,)*)| {
                        Glue::<P>::$name($($argument),*)
                    })
                }
            }
            )+
        }
    };
}

entries! {
    Describe => described();
    Configure => configure(settings: String);
    Forget => forget();
    Start => start(target: types::Target);
    Stop => stop(target: types::Target, options: types::StopOptions);
    Status => status(target: types::Target);
    Pause => pause(target: types::Target);
    Resume => resume(target: types::Target);
    Kill => kill(target: types::Target, signal: Option<String>);
    List => list(cursor: Option<String>);
    Watch => watch();
    Recreate => recreate(target: types::Target, options: types::RecreateOptions);
    Remove => remove(target: types::Target, options: types::RemoveOptions);
    Logs => logs(target: types::Target, lines: u32);
    Exec => exec(target: types::Target, command: Vec<String>);
    Usage => usage(target: types::Target);
    Fetch => fetch(target: types::Target);
}

/// Runs one entry: reads the arguments, calls the provider with the router as its host, and passes
/// the answer on. Never unwinds.
///
/// # Safety
///
/// `host`, `arguments` and `answer` are those that the router passes to an entry; valid until it
/// returns.
unsafe fn enter<A: DeserializeOwned, R: Serialize>(
    host: *const Host,
    arguments: Bytes,
    answer: Sink,
    run: impl FnOnce(A) -> Result<R, types::Error>,
) -> u32 {
    // SAFETY: borrowed until this returns.
    let encoded = unsafe { std::slice::from_raw_parts(arguments.data, arguments.len) };
    let result = panics::catch(|| {
        let arguments = wire::read(encoded).map_err(|error| format!("arguments: {error}"))?;
        let caller = Rc::new(Caller::new(host));
        let _closed = caller::Closed(caller.clone());
        let _installed = host::install(Rc::new(caller));
        Ok::<_, String>(wire::bytes(&run(arguments)))
    });
    let (code, payload) = match result {
        Ok(Ok(bytes)) => (entry::ANSWERED, bytes),
        Ok(Err(error)) => (entry::UNREADABLE, error.into_bytes()),
        Err(panics::Ended::Panicked(message)) => (entry::PANICKED, message.into_bytes()),
        Err(panics::Ended::Cancelled) => (entry::GIVEN_UP, Vec::new()),
    };
    // SAFETY: the sink is the router's for this entry, and takes one answer.
    unsafe { (answer.take)(answer.context, Bytes::of(&payload)) };
    code
}

#[cfg(test)]
mod tests;
