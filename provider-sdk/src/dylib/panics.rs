//! Catches panics of a provider before they reach the ABI.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook},
    sync::Once,
};

/// Why a call ended without an answer.
pub(super) enum Ended {
    /// It panicked with this message, which includes the location.
    Panicked(String),
    /// The router cancelled the call, and the provider unwound at its next host call.
    Cancelled,
}

/// Panic payload of [`cancel`].
struct Cancelled;

thread_local! {
    /// This thread is in a call.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    /// Message of the last panic of this call.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a call and catches what unwinds out of it.
pub(super) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Ended> {
    static HOOK: Once = Once::new();
    HOOK.call_once(hook);
    IN_CALL.set(true);
    // State that the call left inconsistent is not used again: the next call starts afresh.
    let ended = catch_unwind(AssertUnwindSafe(call));
    IN_CALL.set(false);
    ended.map_err(|payload| {
        let given_up = payload.is::<Cancelled>();
        // The payload's destructor could panic uncaught.
        std::mem::forget(payload);
        match given_up {
            true => Ended::Cancelled,
            false => Ended::Panicked(MESSAGE.take().unwrap_or_else(|| "no message".into())),
        }
    })
}

/// Unwinds this thread's call, which the router has cancelled.
pub(super) fn cancel() -> ! {
    resume_unwind(Box::new(Cancelled))
}

/// Stores the panic message of a call instead of writing it to standard error, where its origin is
/// unknown.
fn hook() {
    let previous = take_hook();
    set_hook(Box::new(move |panic| {
        if IN_CALL.try_with(Cell::get).unwrap_or(false) {
            // Fails only while the thread itself ends.
            let _ = MESSAGE.try_with(|slot| slot.replace(Some(message(panic))));
        } else {
            previous(panic);
        }
    }));
}

fn message(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(location) => format!("panicked at {location}:\n{message}"),
        None => format!("panicked: {message}"),
    }
}
