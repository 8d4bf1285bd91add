//! Panics of a provider, caught before they reach the border.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook},
    sync::Once,
};

/// How a call ended other than by an answer.
pub(super) enum Ended {
    /// It panicked with this message, which tells the place, too.
    Panicked(String),
    /// The router wants its answer no more, and the provider unwound at its next question.
    GivenUp,
}

/// What [`give_up`] unwinds with.
struct GivenUp;

thread_local! {
    /// This thread is in a call.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// What the last panic of this call said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a call and catches what unwinds out of it.
pub(super) fn caught<R>(call: impl FnOnce() -> R) -> Result<R, Ended> {
    static HOOK: Once = Once::new();
    HOOK.call_once(hook);
    INSIDE.set(true);
    // What the call has left half done is not looked at again: the next one begins anew.
    let ended = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(false);
    ended.map_err(|payload| {
        let given_up = payload.is::<GivenUp>();
        // A payload's destructor could panic, and nothing would catch that.
        std::mem::forget(payload);
        match given_up {
            true => Ended::GivenUp,
            false => Ended::Panicked(SAID.take().unwrap_or_else(|| "no message".into())),
        }
    })
}

/// Ends the call of this thread, because its router does not want the answer.
pub(super) fn give_up() -> ! {
    resume_unwind(Box::new(GivenUp))
}

/// Keeps a panic's message of a call instead of writing it to standard error, where nobody knows
/// whose it is.
fn hook() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if INSIDE.try_with(Cell::get).unwrap_or(false) {
            // Gone only when the thread itself ends.
            let _ = SAID.try_with(|said| said.replace(Some(message(panic))));
        } else {
            before(panic);
        }
    }));
}

fn message(panic: &PanicHookInfo<'_>) -> String {
    let said = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => format!("panicked at {place}:\n{said}"),
        None => format!("panicked: {said}"),
    }
}
