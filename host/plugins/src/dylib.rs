//! Plugins that are dynamic libraries: trusted code behind the border of [`drowse_provider_abi`].
//!
//! A [`Library`] is opened once and never closed. A call of one runs on a thread of its provider's
//! own [`Threads`], because it may block; what it asks for is answered by the same [`HostState`] as
//! a component's imports, while its thread waits. Dropping the call ends every wait of it, and the
//! library unwinds at its next question. One that asks nothing more cannot be ended: it keeps its
//! thread, and when a provider has no thread left its calls fail.

mod call;
mod library;
mod serve;
mod threads;

use tokio::{runtime::Handle, sync::oneshot, time::timeout};

pub use library::Linked;
pub(crate) use library::{Library, open};
pub(crate) use threads::Threads;

use crate::{
    bindings::types,
    convert,
    dylib::call::Call,
    fault::Fault,
    function::{Answer, Function},
    instance::INSIDE,
    store::HostState,
};

/// Configures the library if there are settings, and calls one function of it. The error is how
/// the call broke. Dropping the future gives the call up.
pub(crate) async fn run<F: Function>(
    library: &Library,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    let scope = state.scope.clone();
    let threads = &scope.tenant.threads;
    let place = threads.place(INSIDE.min(scope.limits().wall / 2)).await?;
    let (given_up, wanted) = oneshot::channel();
    let (ready, configured) = oneshot::channel();
    let (answered, answer) = oneshot::channel();
    let library = *library;
    let settings = settings.map(str::to_owned);
    let runtime = Handle::current();
    let work = move || {
        let mut call = Call::new(library, state, runtime, given_up);
        let answer = call.of(settings.as_deref(), function, || {
            // Whoever waited has given up; the call itself is told so by itself.
            let _ = ready.send(());
        });
        move || {
            let _ = answered.send(answer);
        }
    };
    threads.run(place, work)?;
    if timeout(INSIDE, configured).await.is_err() {
        return Err(Fault::Wall(INSIDE));
    }
    let answer = answer.await;
    drop(wanted);
    answer.unwrap_or_else(|_| Err(Fault::Trap("the thread of the call has ended".into())))
}

/// What a library answers that has no such function.
fn unsupported() -> types::Error {
    let message = "the plugin is built for an older contract that does not have this";
    convert::error(types::ErrorCode::Unsupported, message)
}
