//! A [`Provider`] as a dynamic library: the table that the router asks for.
//!
//! The border itself is described in `drowse-provider-abi`. Every entry catches panics; what the
//! provider asks of the world goes back to the router by the [`Caller`] that is installed for the
//! time of the entry.

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

// Unwinding is how a panic is caught and how a call that was given up ends.
#[cfg(all(feature = "dylib", panic = "abort"))]
compile_error!(
    "a provider that is a dynamic library is built with panic = \"unwind\": a panic would end the \
     router"
);

/// The table of a provider.
pub fn table<P: Provider>() -> &'static Table {
    &Entries::<P>::TABLE
}

struct Entries<P>(std::marker::PhantomData<P>);

/// The entries of a provider, each with the arguments it reads.
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
                // SAFETY: the router keeps to the border's rules: host, arguments and sink are
                // valid until this returns.
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

/// One entry: reads the arguments, lets the provider answer with the router as its host, and hands
/// over the answer. Nothing unwinds out of here.
///
/// # Safety
///
/// `host`, `arguments` and `answer` are what the router hands to an entry, until it returns.
unsafe fn enter<A: DeserializeOwned, R: Serialize>(
    host: *const Host,
    arguments: Bytes,
    answer: Sink,
    act: impl FnOnce(A) -> Result<R, types::Error>,
) -> u32 {
    // SAFETY: lent to us until we return.
    let given = unsafe { std::slice::from_raw_parts(arguments.data, arguments.len) };
    let caught = panics::caught(|| {
        let arguments = wire::read(given).map_err(|flaw| format!("arguments: {flaw}"))?;
        let caller = Rc::new(Caller::new(host));
        let _closed = caller::Closed(caller.clone());
        let _installed = host::install(Rc::new(caller));
        Ok::<_, String>(wire::bytes(&act(arguments)))
    });
    let (code, said) = match caught {
        Ok(Ok(bytes)) => (entry::ANSWERED, bytes),
        Ok(Err(flaw)) => (entry::UNREADABLE, flaw.into_bytes()),
        Err(panics::Ended::Panicked(message)) => (entry::PANICKED, message.into_bytes()),
        Err(panics::Ended::GivenUp) => (entry::GIVEN_UP, Vec::new()),
    };
    // SAFETY: the sink is the router's own for this entry, and takes one answer.
    unsafe { (answer.take)(answer.context, Bytes::of(&said)) };
    code
}

#[cfg(test)]
mod tests;
