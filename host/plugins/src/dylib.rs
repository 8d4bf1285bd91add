//! Plugins that are dynamic libraries: trusted code behind the C ABI of [`drowse_provider_abi`].
//!
//! A [`Library`] is opened once and never closed. A call runs on one of its provider's [`Threads`],
//! because it may block; its imports are handled by the same [`HostState`] as a component's, while
//! its thread waits. Dropping the call ends every wait, and the library unwinds at its next import.
//! A call that makes no more imports cannot be ended: it keeps its thread, and when all threads of
//! a provider are blocked its calls fail.

mod call;
pub(crate) mod library;
mod serve;
pub(crate) mod threads;

use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use crate::{
    dylib::{call::Call, library::Library},
    fault::Fault,
    function::{Answer, Function, INIT_TIMEOUT},
    store::HostState,
};

/// Configures the library if there are settings, and calls one of its functions. The error is the
/// fault of the call. Dropping the future cancels the call.
pub(crate) async fn run<F: Function>(
    library: &Library,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    let grants = state.grants.clone();
    let threads = &grants.context.threads;
    let permit = threads.acquire(INIT_TIMEOUT.min(grants.limits().wall / 2)).await?;
    let (cancelled, caller) = oneshot::channel();
    let (ready, configured) = oneshot::channel();
    let (answered, answer) = oneshot::channel();
    let library = *library;
    let settings = settings.map(str::to_owned);
    let runtime = Handle::current();
    let work = move || {
        let mut call = Call::new(library, state, runtime, cancelled);
        let answer = call.of(settings.as_deref(), function, || {
            // The receiver is gone if the caller gave up; the call notices that by itself.
            let _ = ready.send(());
        });
        move || {
            let _ = answered.send(answer);
        }
    };
    threads.run(permit, work)?;
    if timeout(INIT_TIMEOUT, configured).await.is_err() {
        return Err(Fault::Wall(INIT_TIMEOUT));
    }
    let answer = answer.await;
    drop(caller);
    answer.unwrap_or_else(|_| Err(Fault::Trap("the thread of the call has ended".into())))
}
